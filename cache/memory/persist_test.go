package memory_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
)

func TestConformanceWithAFile(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T) cache.Store {
		return open(t, memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Millisecond})
	})
}

// logs are the lines of a log, without their times.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logs) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func set(t testing.TB, s *memory.Store, key, text string, tags ...string) {
	t.Helper()
	token, now, err := s.Acquire(t.Context(), key, nil, time.Hour, true)
	require.NoError(t, err)
	if now.Record != nil {
		_, err := s.Delete(t.Context(), key)
		require.NoError(t, err)
		token, _, err = s.Acquire(t.Context(), key, nil, time.Hour, true)
		require.NoError(t, err)
	}
	filled, err := s.Fill(t.Context(), key, token, nil, decode(t, text), tags, time.Hour)
	require.NoError(t, err)
	require.True(t, filled)
}

func text(t testing.TB, s *memory.Store, key string) string {
	t.Helper()
	entry, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	if entry.Record == nil {
		return ""
	}
	return entry.Record.Text()
}

// restart closes the store and opens another with the options.
func restart(t testing.TB, s *memory.Store, options memory.Options) *memory.Store {
	t.Helper()
	require.NoError(t, s.Close())
	return open(t, options)
}

// beside are the files beside a file, with what follows its name, but for those
// of the store.
func beside(t testing.TB, file string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	for _, entry := range entries {
		if more, ok := strings.CutPrefix(entry.Name(), filepath.Base(file)); ok && more != "" && more != ".lock" && !strings.HasPrefix(more, ".journal-") {
			found = append(found, entry.Name())
		}
	}
	return found
}

func TestRecordsOutliveARestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state", "records")
	options := memory.Options{File: file}
	s := open(t, options)
	values := map[string]string{
		"session:user:ada":         `{"user_id": 1}`,
		"spaces and\nlines":        "{\n\t\"a\" : \"<b>\\u0000é\u2028\" }\r\n",
		"known to be absent":       "null",
		"known to be denied":       `{"denied": 403}`,
		"no UTF-8 \xff\xfe":        `{"a":1.000000000000000000001}`,
		strings.Repeat("k", 1<<16): `{"a":"` + strings.Repeat(`\"`, 1<<15) + `"}`,
		"":                         `{"empty":"key"}`,
	}
	expires := make(map[string]int64)
	for key, value := range values {
		set(t, s, key, value)
		entry, _ := s.Peek(key, time.Now())
		expires[key] = entry.Expires
	}
	for range 3 {
		s = restart(t, s, options)
		for key, value := range values {
			require.Equal(t, value, text(t, s, key))
			entry, ok := s.Peek(key, time.Now())
			require.True(t, ok)
			require.Equal(t, expires[key], entry.Expires)
		}
		set(t, s, "one more", "{}")
	}
	n, err := s.Delete(t.Context(), "session:user:ada")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	s = restart(t, s, options)
	require.Empty(t, text(t, s, "session:user:ada"), "what was deleted stays so")

	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	info, err = os.Stat(filepath.Dir(file))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	require.Empty(t, beside(t, file))
}

func TestTagsOutliveARestart(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records")}
	s := open(t, options)
	set(t, s, "ada1", `{}`, "user:ada", "all", "no UTF-8 \xff")
	set(t, s, "ada2", `{}`, "user:ada", "all")
	set(t, s, "bob1", `{}`, "user:bob", "all")
	s = restart(t, s, options)
	require.NotEmpty(t, text(t, s, "ada1"))
	require.NoError(t, s.DropTag(t.Context(), "user:ada"))
	require.Empty(t, text(t, s, "ada1"))
	s = restart(t, s, options)
	require.Empty(t, text(t, s, "ada1"))
	require.Empty(t, text(t, s, "ada2"))
	require.NotEmpty(t, text(t, s, "bob1"))
	set(t, s, "eve1", `{}`, "all")
	require.NoError(t, s.DropTag(t.Context(), "all"))
	require.Empty(t, text(t, s, "bob1"))
	require.Empty(t, text(t, s, "eve1"))
}

func TestListingsAreThatOfTheFileWhereTheyAreTheFirstUse(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records")}
	s := open(t, options)
	added, err := s.AddMany(t.Context(), []cache.Item{{Key: "a", Record: cache.AbsentRecord(), TTL: time.Hour}})
	require.NoError(t, err)
	require.Equal(t, 1, added)
	s = restart(t, s, options)
	for listed, err := range s.Records(t.Context(), "") {
		require.NoError(t, err)
		require.Equal(t, "a", listed.Key)
		added--
	}
	require.Zero(t, added, "what was added is not there")

	set(t, s, "b", "{}", "tag")
	s = restart(t, s, options)
	keys, _, err := s.Scan(t.Context(), "", "", 10)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, keys)
}

func TestLeasesEndWithTheProcess(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records")}
	s := open(t, options)
	token, _, err := s.Acquire(t.Context(), "a", nil, time.Hour, false)
	require.NoError(t, err)
	set(t, s, "b", `{}`)
	s = restart(t, s, options)
	filled, err := s.Fill(t.Context(), "a", token, nil, decode(t, `{}`), nil, time.Hour)
	require.NoError(t, err)
	require.False(t, filled)
	again, _, err := s.Acquire(t.Context(), "a", nil, time.Hour, false)
	require.NoError(t, err)
	require.NotEmpty(t, again)
}

func TestRecordsExpireWhileTheProcessIsDown(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records")}
	s := open(t, options)
	set(t, s, "long", `{}`)
	require.NoError(t, s.Set(t.Context(), "short", decode(t, `{}`), 300*time.Millisecond))
	over := time.Now().Add(300 * time.Millisecond)
	require.NoError(t, s.Close())
	require.Eventually(t, func() bool { return time.Now().After(over) }, 5*time.Second, time.Millisecond)
	s = open(t, options)
	require.Empty(t, text(t, s, "short"))
	require.Equal(t, "{}", text(t, s, "long"))
}

// caddy validate makes stores and does not use them.
func TestStoreThatIsNotUsedTouchesNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	require.NoError(t, os.WriteFile(damaged, []byte("not records"), 0o644))
	for _, file := range []string{damaged, filepath.Join(dir, "none", "records")} {
		var l logs
		s := open(t, memory.Options{File: file, SaveInterval: time.Millisecond, Logger: l.logger()})
		require.NoError(t, s.Adjust(memory.Options{File: file, MaxSize: 1 << 20, Logger: l.logger()}))
		require.NoError(t, s.Close())
		require.Zero(t, l.count("\n"))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	content, err := os.ReadFile(damaged)
	require.NoError(t, err)
	require.Equal(t, "not records", string(content))
}

// savedText is what a store would read from a copy of the file.
func savedText(t testing.TB, file, key string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	copied := filepath.Join(t.TempDir(), "records")
	require.NoError(t, os.WriteFile(copied, content, 0o600))
	s, err := memory.New(memory.Options{File: copied, NoJournal: true})
	require.NoError(t, err)
	defer s.Close()
	return text(t, s, key)
}

func TestChangesAreSavedWhileTheStoreIsUsed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "records")
	s := open(t, memory.Options{File: file, SaveInterval: 5 * time.Millisecond})
	has := func(want string) func() bool {
		return func() bool {
			return savedText(t, file, "a") == want
		}
	}
	change := map[string]func(){
		`{"n":1}`: func() { set(t, s, "a", `{"n":1}`) },
		`{"n":2}`: func() {
			_, err := s.Delete(t.Context(), "a")
			require.NoError(t, err)
			token, _, err := s.Acquire(t.Context(), "a", nil, time.Hour, false)
			require.NoError(t, err)
			_, err = s.Fill(t.Context(), "a", token, nil, decode(t, `{"n":2}`), nil, time.Hour)
			require.NoError(t, err)
		},
		"": func() { _, err := s.DeletePrefix(t.Context(), "a"); require.NoError(t, err) },
	}
	for want, do := range change {
		do()
		require.Eventually(t, has(want), 10*time.Second, 5*time.Millisecond)
	}
}

func TestFileIsWrittenOnlyWhereSomethingChanged(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records")}
	s := open(t, options)
	set(t, s, "a", `{}`)
	require.NoError(t, s.Close())
	before, err := os.Stat(options.File)
	require.NoError(t, err)
	s = open(t, options)
	require.Equal(t, "{}", text(t, s, "a"))
	_, err = s.Delete(t.Context(), "not there")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	after, err := os.Stat(options.File)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "written though nothing changed")
}

func TestTheSizeHoldsForWhatIsRead(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records")}
	s := open(t, options)
	for i := range 3000 {
		set(t, s, fmt.Sprint(i), `{"a":"`+strings.Repeat("x", 1000)+`"}`)
	}
	options.MaxSize = 1 << 20
	s = restart(t, s, options)
	info, err := s.Info(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, info.UsedMemory, int64(1<<20))
	require.Greater(t, info.Keys, int64(500))
}

// has read for all there is.
func TestClosingWhileTheFileIsReadLosesNothing(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Millisecond}
	s := open(t, options)
	for i := range 5000 {
		set(t, s, fmt.Sprint(i), `{}`)
	}
	require.NoError(t, s.Close())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		s, err := memory.New(options)
		require.NoError(t, err)
		var group sync.WaitGroup
		group.Go(func() { _ = s.Ping(over) })
		group.Go(func() { assert.NoError(t, s.Close()) })
		group.Wait()
	}
	info, err := open(t, options).Info(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5000, info.Keys)
}
