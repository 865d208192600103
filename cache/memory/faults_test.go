package memory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
)

const (
	// patience is how long a condition may take to come true, tick how often it
	// is tried.
	patience = 10 * time.Second
	tick     = time.Millisecond
)

// crash returns options for a store that begins with what is on the disk now,
// as after a crash. The store that writes it may be in use.
func crash(t *testing.T, file string) memory.Options {
	t.Helper()
	for {
		dir, err := copyAll(t, file)
		if err == nil {
			return memory.Options{File: filepath.Join(dir, filepath.Base(file))}
		}
		require.ErrorIs(t, err, os.ErrNotExist)
	}
}

// copyAll copies the files beside a file. The error wraps os.ErrNotExist where
// they were replaced meanwhile.
func copyAll(t *testing.T, file string) (to string, err error) {
	from, to := filepath.Dir(file), t.TempDir()
	before, _ := os.Stat(file)
	entries, err := os.ReadDir(from)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), content, 0o600); err != nil {
			return "", err
		}
	}
	again, err := os.ReadDir(from)
	after, _ := os.Stat(file)
	if (before == nil) != (after == nil) || before != nil && !os.SameFile(before, after) || len(again) != len(entries) {
		return "", fmt.Errorf("%w: the file was replaced", os.ErrNotExist)
	}
	return to, err
}

// savedStore opens a store with a file in which there is a session.
func savedStore(t *testing.T, options memory.Options) *memory.Store {
	t.Helper()
	s := open(t, options)
	set(t, s, "session", `{"n":1}`, "user")
	s.Save()
	require.NoError(t, s.FileStatus().Err)
	return s
}

// revocations are ways to revoke the session of savedStore.
func revocations(s *memory.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"a deletion": func(ctx context.Context) error { _, err := s.Delete(ctx, "other", "session"); return err },
		"a prefix":   func(ctx context.Context) error { _, err := s.DeletePrefix(ctx, "sess"); return err },
		"a tag":      func(ctx context.Context) error { return s.DropTag(ctx, "user") },
		"a denial":   func(ctx context.Context) error { return s.Set(ctx, "session", cache.DeniedRecord(403), time.Hour) },
		"a batch": func(ctx context.Context) error {
			return s.SetMany(ctx, []cache.Item{{Key: "session", Record: cache.AbsentRecord(), TTL: time.Hour}})
		},
		"a fill": func(ctx context.Context) error {
			entry, err := s.Get(ctx, "session")
			if err != nil {
				return err
			}
			token, _, err := s.Acquire(ctx, "session", entry.Record, time.Hour, false)
			if err != nil {
				return err
			}
			_, err = s.Fill(ctx, "session", token, entry.Record, cache.AbsentRecord(), nil, time.Hour)
			return err
		},
	}
}

func TestRevocationsSurviveACrash(t *testing.T) {
	t.Parallel()
	for name := range revocations(nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Hour}
			s := savedStore(t, options)
			require.NoError(t, revocations(s)[name](t.Context()))
			after := open(t, crash(t, options.File))
			require.NotEqual(t, `{"n":1}`, withoutTags(text(t, after, "session")))
			// the next crash is no worse
			again := open(t, crash(t, options.File))
			require.NotEqual(t, `{"n":1}`, withoutTags(text(t, again, "session")))
		})
	}
}

func withoutTags(text string) string {
	before, _, _ := strings.Cut(text, `,"_tags"`)
	if before != text {
		before += "}"
	}
	return before
}

func TestWithoutAJournalACrashForgetsRevocations(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Hour, NoJournal: true}
	s := savedStore(t, options)
	_, err := s.Delete(t.Context(), "session")
	require.NoError(t, err)
	require.Equal(t, `{"n":1}`, withoutTags(text(t, open(t, crash(t, options.File)), "session")), "the test above tests nothing")
	require.NoError(t, s.Close())
	require.Empty(t, text(t, open(t, options), "session"))
}

// A journal may be switched on and off by a reload; a file from before has none.
func TestTheJournalIsSwitched(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Hour, NoJournal: true}
	s := savedStore(t, options)
	require.NoError(t, s.Close())
	options.NoJournal = false
	s = open(t, options)
	require.Equal(t, `{"n":1}`, withoutTags(text(t, s, "session")))
	_, err := s.Delete(t.Context(), "session")
	require.NoError(t, err)
	require.Empty(t, text(t, open(t, crash(t, options.File)), "session"))

	journals := func() int {
		found, err := filepath.Glob(options.File + ".journal-*")
		require.NoError(t, err)
		return len(found)
	}
	options.NoJournal = true
	require.NoError(t, s.Adjust(options))
	require.Eventually(t, func() bool { return journals() == 0 }, patience, tick)
	set(t, s, "session", `{"n":1}`)
	s.Save()
	options.NoJournal = false
	require.NoError(t, s.Adjust(options))
	require.Eventually(t, func() bool { return journals() == 1 }, patience, tick)
	require.Eventually(t, func() bool { return s.FileStatus().Journal }, patience, tick)
	_, err = s.Delete(t.Context(), "session")
	require.NoError(t, err)
	require.Empty(t, text(t, open(t, crash(t, options.File)), "session"))
}

// With the disk full or broken, the store works, says so, and brings back
// nothing that was revoked, whatever was answered.
func TestAFullOrBrokenDiskBringsNothingBack(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]map[string]error{
		"full":                     {"write": syscall.ENOSPC},
		"full of files":            {"write": syscall.ENOSPC, "create": syscall.ENOSPC},
		"out of quota at the sync": {"sync": syscall.EDQUOT},
		"read-only":                {"write": syscall.EROFS, "create": syscall.EROFS, "rename": syscall.EROFS, "remove": syscall.EROFS},
		"broken":                   {"write": syscall.EIO, "sync": syscall.EIO, "sync directory": syscall.EIO, "remove": syscall.EIO},
		"without renames":          {"rename": syscall.EIO},
		"without removals":         {"remove": syscall.EIO, "write": syscall.EIO},
	} {
		for revocation := range revocations(nil) {
			t.Run(name+"/"+revocation, func(t *testing.T) {
				t.Parallel()
				var failing atomic.Bool
				var l logs
				options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Hour, Logger: l.logger()}
				s := open(t, options)
				s.SetFaults(func(_ int, operation string) error {
					if failing.Load() {
						return faults[operation]
					}
					return nil
				})
				set(t, s, "session", `{"n":1}`, "user")
				s.Save()
				failing.Store(true)

				err := revocations(s)[revocation](t.Context())
				back := withoutTags(text(t, open(t, crash(t, options.File)), "session")) == `{"n":1}`
				if err == nil {
					require.False(t, back, "what was revoked is back")
				} else {
					require.ErrorIs(t, err, cache.ErrUnavailable)
				}
				require.NotEqual(t, `{"n":1}`, withoutTags(text(t, s, "session")), "revoked here, whatever the disk does")
				s.SaveSoon()
				require.Eventually(t, func() bool { return s.FileStatus().Err != nil }, patience, tick)

				failing.Store(false)
				require.Eventually(t, func() bool { return s.FileStatus().Err == nil }, patience, tick)
				set(t, s, "another", `{"n":1}`)
				_, err = s.Delete(t.Context(), "session")
				require.NoError(t, err)
				require.Empty(t, text(t, open(t, crash(t, options.File)), "session"))
				require.NoError(t, s.Close())
				s = open(t, options)
				require.Equal(t, `{"n":1}`, text(t, s, "another"))
				require.LessOrEqual(t, l.count("WARN"), 3, "%s", l.text.String())
			})
		}
	}
}

// A last line that is cut off was not answered. Any other damage hides what was
// revoked, so that no record can be used.
func TestDamagedJournals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(journal []byte) []byte
		kept   bool
	}{
		"whole":               {func(j []byte) []byte { return j }, true},
		"the last is cut off": {func(j []byte) []byte { return append(j, "0123abcd {\"number\":9"...) }, true},
		"zeros at the end":    {func(j []byte) []byte { return append(j, make([]byte, 4096)...) }, true},
		"a bit in the middle": {func(j []byte) []byte { j[len(j)/2] ^= 1; return j }, false},
		"the last has a bit":  {func(j []byte) []byte { j[len(j)-5] ^= 1; return j }, false},
		"more at the end":     {func(j []byte) []byte { return append(j, "0123abcd {}\n"...) }, false},
		"the first is gone":   {func(j []byte) []byte { return j[bytes.IndexByte(j, '\n')+1:] }, false},
		"a line is gone": {func(j []byte) []byte {
			lines := bytes.SplitAfter(j, []byte("\n"))
			return bytes.Join(append(lines[:1], lines[2:]...), nil)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Hour}
			s := savedStore(t, options)
			set(t, s, "kept", `{"n":1}`)
			s.Save()
			for _, key := range []string{"a", "session", "b"} {
				_, err := s.Delete(t.Context(), key)
				require.NoError(t, err)
			}
			after := crash(t, options.File)
			found, err := filepath.Glob(after.File + ".journal-*")
			require.NoError(t, err)
			require.Len(t, found, 1)
			journal, err := os.ReadFile(found[0])
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(found[0], test.damage(journal), 0o600))
			var l logs
			after.Logger = l.logger()
			s = open(t, after)
			require.Empty(t, text(t, s, "session"))
			require.Equal(t, test.kept, text(t, s, "kept") != "")
			require.Equal(t, test.kept, l.count("ERROR") == 0, l.text.String())
			damaged, err := filepath.Glob(after.File + ".damaged-*")
			require.NoError(t, err)
			require.Equal(t, !test.kept, len(damaged) == 1, "what cannot be used is set aside")
		})
	}
}

// Changes are in journals in another order than they were made in, when many
// are made at once. What a crash leaves is what was there, or less.
func TestWhatACrashLeavesIsNeverOlder(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Millisecond}
	s := open(t, options)
	const keys, workers = 8, 8
	var versions [keys]atomic.Int64 // that were answered
	stop := make(chan struct{})
	done := make(chan error, workers)
	for worker := range workers {
		go func() {
			for n := int64(1); ; n++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				// each key has one writer, so that versions grow
				key, name := worker%keys, fmt.Sprint("key", worker%keys)
				record, err := cache.Decode(fmt.Sprintf(`{"n":%d}`, n), 100)
				if err == nil && n%3 == 0 {
					_, err = s.Delete(context.Background(), name)
				} else if err == nil {
					err = s.Set(context.Background(), name, record, time.Hour)
				}
				if err != nil {
					done <- err
					return
				}
				versions[key].Store(n)
			}
		}()
	}
	for range 40 {
		var before [keys]int64
		for key := range keys {
			before[key] = versions[key].Load()
		}
		after := open(t, crash(t, options.File))
		for key := range keys {
			entry, err := after.Get(t.Context(), fmt.Sprint("key", key))
			require.NoError(t, err)
			if entry.Record == nil {
				continue
			}
			v, _ := entry.Record.Field("n")
			n, _ := v.Int()
			require.GreaterOrEqual(t, n, before[key], "key%d", key)
		}
		require.NoError(t, after.Close())
	}
	close(stop)
	for range workers {
		require.NoError(t, <-done)
	}
}

// Two stores with one file, in one process or in two, do not damage it: the
// second says so and works without, and takes the file over when it is free.
func TestAFileHasOneStoreAtATime(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: 10 * time.Millisecond}
	first := open(t, options)
	set(t, first, "first", `{}`)
	require.Eventually(t, func() bool { return first.FileStatus().Records == 1 }, patience, tick)

	var l logs
	second := options
	second.Logger = l.logger()
	s := open(t, second)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.Ping(ctx), "it waits no longer than a process needs to end")
	set(t, s, "second", `{}`)
	require.Empty(t, text(t, s, "first"))
	require.Eventually(t, func() bool { return s.FileStatus().Err != nil }, patience, tick)
	require.ErrorContains(t, s.FileStatus().Err, "another process uses the file")
	require.Positive(t, l.count("another process uses the file: give each Caddy a file of its own"))
	require.NotZero(t, savedText(t, options.File, "first"))

	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return s.FileStatus().Err == nil }, patience, tick)
	require.Len(t, beside(t, options.File), 1, "the records of the first are set aside")
	require.Equal(t, "{}", savedText(t, options.File, "second"))
}

// A process that replaces another, as in a restart, waits for the file.
func TestARestartWaitsForTheFile(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Hour}
	first := open(t, options)
	set(t, first, "a", `{}`)
	second := open(t, options)
	pinged := make(chan error, 1)
	go func() { pinged <- second.Ping(context.Background()) }()
	require.NoError(t, first.Close())
	require.NoError(t, <-pinged)
	require.Equal(t, "{}", text(t, second, "a"))
}

// Reloads that come more often than saves do not put these off.
func TestReloadsDoNotPutOffSaves(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: 200 * time.Millisecond, MaxSize: 1 << 20}
	s := open(t, options)
	set(t, s, "a", `{}`)
	saved := s.FileStatus().Saved
	require.Eventually(t, func() bool {
		options.MaxSize++ // each is another configuration
		require.NoError(t, s.Adjust(options))
		return s.FileStatus().Saved.After(saved) && s.FileStatus().Records == 1
	}, patience, tick)

	options.SaveInterval = time.Hour
	require.NoError(t, s.Adjust(options))
	set(t, s, "b", `{}`)
	options.SaveInterval = time.Millisecond
	require.NoError(t, s.Adjust(options))
	require.Eventually(t, func() bool { return s.FileStatus().Records == 2 }, patience, tick, "another interval counts at once")
}

// A journal that grows as large as the save is ended by a save.
func TestALongJournalIsEndedByASave(t *testing.T) {
	t.Parallel()
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), SaveInterval: time.Hour}
	s := savedStore(t, options)
	before := s.FileStatus().Saved
	text := `{"a":"` + strings.Repeat("x", 1<<19) + `%d"}`
	for n := 0; !s.FileStatus().Saved.After(before); n++ {
		require.Less(t, n, 1000, "the journal grows without end")
		require.NoError(t, s.Set(t.Context(), "a", decode(t, fmt.Sprintf(text, n)), time.Hour))
	}
	size := int64(0)
	found, err := filepath.Glob(options.File + ".journal-*")
	require.NoError(t, err)
	for _, file := range found {
		if info, err := os.Stat(file); err == nil {
			size += info.Size()
		} else {
			require.True(t, errors.Is(err, os.ErrNotExist), err)
		}
	}
	require.Less(t, size, int64(64<<20))
}
