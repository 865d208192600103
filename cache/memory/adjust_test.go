package memory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/memory"
)

func TestAdjustedStoreKeepsItsRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	s := open(t, memory.Options{})
	set(t, s, "a", `{"n":1}`)
	set(t, s, "large", `{"a":"`+strings.Repeat("x", 1000)+`"}`)

	var l logs
	options := memory.Options{File: one, Logger: l.logger()}
	require.NoError(t, s.Adjust(options))
	saved := func(file string) func() bool {
		return func() bool { _, err := os.Stat(file); return err == nil }
	}
	require.Eventually(t, saved(one), 10*time.Second, time.Millisecond, "saved at once")
	was, err := os.ReadFile(one)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(two, []byte("a user's letters"), 0o600))
	options.File, options.MaxValueSize = two, 100
	require.NoError(t, s.Adjust(options))
	require.Eventually(t, func() bool { return len(beside(t, two)) == 1 && saved(two)() }, 10*time.Second, time.Millisecond)
	letters, err := os.ReadFile(filepath.Join(dir, beside(t, two)[0]))
	require.NoError(t, err)
	require.Equal(t, "a user's letters", string(letters))
	require.Equal(t, 1, l.count("an existing file has the name of the file of records"))
	require.Equal(t, `{"n":1}`, text(t, s, "a"))
	require.Empty(t, text(t, s, "large"), "larger than records may be now")

	options.MaxSize = 1
	require.NoError(t, s.Adjust(options))
	info, err := s.Info(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, info.MaxMemory)
	require.Zero(t, info.Keys)
	options.MaxSize = 0
	require.NoError(t, s.Adjust(options))
	set(t, s, "b", `{"n":2}`)
	s = restart(t, s, options)
	require.Equal(t, `{"n":2}`, text(t, s, "b"))
	still, err := os.ReadFile(one)
	require.NoError(t, err)
	require.Equal(t, was, still, "the former file is left alone")

	set(t, s, "c", `{"n":3}`)
	require.NoError(t, s.Adjust(memory.Options{}))
	require.NoError(t, s.Close())
	require.Error(t, s.Adjust(memory.Options{MaxSize: -1}))
}

func TestTheLastSaveGoesToTheFileOfTheLastOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 30 {
		options := memory.Options{File: filepath.Join(dir, fmt.Sprint("from", i))}
		s := open(t, options)
		set(t, s, "a", `{}`)
		options.File = filepath.Join(dir, fmt.Sprint("to", i))
		require.NoError(t, s.Adjust(options))
		s = restart(t, s, options)
		require.Equal(t, "{}", text(t, s, "a"))
		require.NoError(t, s.Close())
	}
}

// A store that is closed before it has read everything must not take what it
