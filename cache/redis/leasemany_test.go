package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// quickSource is a source of files that calls load.
type quickSource struct {
	load   func(req cache.Request) (cache.Loaded, error)
	loads  atomic.Int64
	atOnce atomic.Int64
	most   atomic.Int64
}

func (*quickSource) Name() string { return "quick" }

func (q *quickSource) Load(_ context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
	q.loads.Add(1)
	now := q.atOnce.Add(1)
	defer q.atOnce.Add(-1)
	for {
		if most := q.most.Load(); now <= most || q.most.CompareAndSwap(most, now) {
			break
		}
	}
	return q.load(req)
}

func warming(t *testing.T, load func(cache.Request) (cache.Loaded, error)) (*Store, *cache.Cache, *cache.Lookup, *quickSource) {
	t.Helper()
	s := open(t, at(redistest.Start(t)))
	c := cache.New(s, cache.NewStats())
	t.Cleanup(func() { _ = c.Close() })
	source := &quickSource{load: load}
	none := time.Duration(0)
	l, err := c.NewLookup(cache.LookupOptions{Name: "files", Family: cache.FileMeta, TTL: time.Hour, NegativeTTL: none, Source: source, SourceID: "00000000000000aa"})
	require.NoError(t, err)
	return s, c, l, source
}

func requests(n int) []cache.Request {
	reqs := make([]cache.Request, n)
	for i := range reqs {
		reqs[i] = cache.Request{Key: fmt.Sprint("f:", i), ID: fmt.Sprint(i)}
	}
	return reqs
}

func TestRecordsAreWarmedTogether(t *testing.T) {
	t.Parallel()
	const n = 250
	s, c, l, source := warming(t, func(req cache.Request) (cache.Loaded, error) {
		switch req.ID {
		case "7":
			return cache.Loaded{}, errors.New("no such disk")
		case "8":
			return cache.Loaded{Record: cache.AbsentRecord()}, nil // which negative_ttl does not keep
		case "9":
			panic("at the disco")
		}
		return cache.Loaded{Record: record(t, `{"from":"source"}`)}, nil
	})
	require.NoError(t, c.SetMany(t.Context(), []cache.Item{
		{Key: "f:1", Record: record(t, `{"from":"application"}`), TTL: time.Hour},
		{Key: "f:2", Record: record(t, `{"from":"old","_source":"00000000000000bb"}`), TTL: time.Hour},
	}))
	require.NoError(t, s.primary.Set(t.Context(), "f:3", "no record", time.Hour).Err())
	require.NoError(t, s.primary.RPush(t.Context(), "f:4", "a list").Err())
	reqs := append(requests(n), cache.Request{Key: "f:0", ID: "0"}) // once more
	results := l.WarmMany(t.Context(), reqs, 5)
	for i, r := range results[:n] {
		switch i {
		case 1:
			require.True(t, r.Hit)
			require.Equal(t, `{"from":"application"}`, r.Record.Text())
		case 3, 4, 7, 9:
			require.Equal(t, cache.OutcomeError, r.Outcome, i)
		case 8:
			require.Equal(t, cache.OutcomeAbsent, r.Outcome)
			require.False(t, r.Stored)
		default:
			require.Equal(t, cache.OutcomeMiss, r.Outcome, "%d: %v", i, r.Err)
			require.True(t, r.Stored, i)
			entry, err := c.Get(t.Context(), reqs[i].Key)
			require.NoError(t, err)
			require.Equal(t, `{"from":"source","_source":"00000000000000aa"}`, entry.Record.Text())
			require.InDelta(t, time.Hour, entry.TTL(time.Now()), float64(5*time.Minute))
			require.InDelta(t, r.TTL, entry.TTL(time.Now()), float64(time.Minute))
		}
	}
	require.True(t, results[n].Hit || results[n].Stored)
	require.LessOrEqual(t, source.most.Load(), int64(5))
	leases, err := s.primary.Keys(t.Context(), s.leases.prefix+"*").Result()
	require.NoError(t, err)
	require.Empty(t, leases)

	loads := source.loads.Load()
	for i, r := range l.WarmMany(t.Context(), requests(n)[10:], 5) {
		require.True(t, r.Hit, i)
	}
	require.Equal(t, loads, source.loads.Load(), "what is stored is not loaded")
}

// A record that was dropped or written while it was loaded is newer than what was
// loaded.
func TestRecordsThatAreWarmedTogetherReplaceNothingNewer(t *testing.T) {
	t.Parallel()
	var began sync.WaitGroup
	began.Add(4)
	goOn := make(chan struct{})
	s, c, l, _ := warming(t, func(cache.Request) (cache.Loaded, error) {
		began.Done()
		<-goOn
		return cache.Loaded{Record: record(t, `{"from":"source"}`)}, nil
	})
	var results []cache.Result
	var group sync.WaitGroup
	group.Go(func() { results = l.WarmMany(t.Context(), requests(4), 4) })
	began.Wait()
	require.NoError(t, c.Set(t.Context(), "f:0", record(t, `{"from":"application"}`), time.Hour))
	_, err := c.Delete(t.Context(), "f:1")
	require.NoError(t, err)
	_, err = c.DeletePrefix(t.Context(), "f:2")
	require.NoError(t, err)
	require.NoError(t, s.primary.Set(t.Context(), "f:3", `{"from":"foreigner"}`, time.Hour).Err())
	close(goOn)
	group.Wait()
	for i, want := range []string{`{"from":"application"}`, "", "", `{"from":"foreigner"}`} {
		require.False(t, results[i].Stored, i)
		entry, err := c.Get(t.Context(), fmt.Sprint("f:", i))
		require.NoError(t, err)
		if want == "" {
			require.Nil(t, entry.Record, i)
		} else {
			require.Equal(t, want, entry.Record.Text())
		}
	}
}

// A record that is being loaded elsewhere is waited for, and loaded once.
func TestRecordsThatAreWarmedTogetherWaitForOtherLoads(t *testing.T) {
	t.Parallel()
	var firstLoaded atomic.Bool
	s, _, l, source := warming(t, func(req cache.Request) (cache.Loaded, error) {
		if req.ID == "0" {
			return cache.Loaded{}, errors.New("it is being loaded elsewhere")
		}
		firstLoaded.Store(true)
		return cache.Loaded{Record: record(t, `{"from":"source"}`)}, nil
	})
	token, _, err := s.Acquire(t.Context(), "f:0", nil, time.Minute, false)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	var results []cache.Result
	var group sync.WaitGroup
	group.Go(func() { results = l.WarmMany(t.Context(), requests(2), 1) })
	require.Eventually(t, firstLoaded.Load, patience, time.Millisecond)
	filled, err := s.Fill(t.Context(), "f:0", token, nil, record(t, `{"from":"elsewhere"}`), nil, time.Hour)
	require.NoError(t, err)
	require.True(t, filled)
	group.Wait()
	require.Equal(t, `{"from":"elsewhere"}`, results[0].Record.Text())
	require.True(t, results[1].Stored)
	require.EqualValues(t, 1, source.loads.Load())
}

// Leases that were taken for nothing are given back, so that others need not wait.
func TestLeasesOfBatchesEndWithThem(t *testing.T) {
	t.Parallel()
	s, _, l, _ := warming(t, func(cache.Request) (cache.Loaded, error) { return cache.Loaded{}, errors.New("no such disk") })
	for _, r := range l.WarmMany(t.Context(), requests(20), 3) {
		require.Equal(t, cache.OutcomeError, r.Outcome)
	}
	for _, req := range requests(20) {
		token, _, err := s.Acquire(t.Context(), req.Key, nil, time.Minute, false)
		require.NoError(t, err)
		require.NotEmpty(t, token)
	}
	require.NoError(t, s.Close())
	for _, r := range l.WarmMany(t.Context(), requests(3), 3) {
		require.ErrorIs(t, r.Err, cache.ErrClosed)
	}
}
