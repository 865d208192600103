package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// moody is a source that answers with an error where it has one.
type moody struct{ err error }

func (*moody) Name() string { return "http" }

func (m *moody) Load(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) {
	return cache.Loaded{Record: cache.AbsentRecord(), NoStore: true}, m.err
}

func TestAFailingSourceIsLoggedAtOnceAndThenSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		source := new(moody)
		c := newCache(t, newStore(t))
		options := cache.LookupOptions{Name: "api", Source: source, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		l := newLookup(t, c, options)
		// logs are the lines after that many lookups a second, in order
		logs := func(err error, lookups int) (lines []string) {
			log.Reset()
			source.err = err
			for i := range lookups {
				if i > 0 {
					time.Sleep(time.Second)
				}
				l.Find(t.Context(), cache.Request{Key: "k:s3cret", ID: "s3cret"})
			}
			for line := range strings.Lines(log.String()) {
				_, line, _ = strings.Cut(strings.TrimSpace(line), "level=")
				lines = append(lines, line)
			}
			return lines
		}
		const refused = `WARN msg="source failed" route=api source=http reason=other error="status 500"`
		const late = `WARN msg="source failed" route=api source=http reason=timeout error="requesting: context deadline exceeded"`
		tooLate := fmt.Errorf("requesting: %w", context.DeadlineExceeded)
		failed := errors.New("status 500")
		require.Empty(t, logs(nil, 1))
		require.Equal(t, []string{refused}, logs(failed, 1), "at once, though one request in two is no trend")
		require.Equal(t, []string{refused}, logs(failed, 61), "once more in a minute")
		require.Equal(t, []string{late}, logs(tooLate, 5), "another reason")

		l = newLookup(t, c, options) // a reload
		require.Empty(t, logs(tooLate, 5), "a reload changes nothing about it")
		for range 20 { // one in two fails
			require.Empty(t, logs(nil, 1))
			require.Empty(t, logs(tooLate, 1))
		}
		require.Equal(t, []string{`INFO msg="source answers again" route=api source=http`}, logs(nil, 30))
		require.Equal(t, []string{late}, logs(tooLate, 2), "a change of state")
		require.Equal(t, []string{`WARN msg="source failed" route=api source=http reason=other error="open: file does not exist"`},
			logs(&fs.PathError{Op: "open", Path: "/s3cret", Err: fs.ErrNotExist}, 2), "the path is an identity")
	})
}

func TestARequestThatItsClientLeavesIsNoFailureOfTheSource(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	source := &waiting{asked: make(chan struct{})}
	c := newCache(t, newStore(t))
	l := newLookup(t, c, cache.LookupOptions{Source: source, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-source.asked; leave() }()
	require.Equal(t, cache.OutcomeError, l.Find(ctx, cache.Request{Key: "k", ID: "1"}).Outcome)
	require.Eventually(t, func() bool { return c.Stats().Snapshot().Sources["http"].Outcomes[cache.SourceLeft] == 1 }, 10*time.Second, time.Millisecond)
	require.Empty(t, log.String())
}

// waiting is a source that answers when its context ends.
type waiting struct{ asked chan struct{} }

func (*waiting) Name() string { return "http" }

func (w *waiting) Load(ctx context.Context, _ cache.Request, _ *cache.Record) (cache.Loaded, error) {
	close(w.asked)
	<-ctx.Done()
	return cache.Loaded{}, ctx.Err()
}
