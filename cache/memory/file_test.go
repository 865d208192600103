package memory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/memory"
)

func TestDamagedFileIsSetAsideAndItsSoundPartKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "records")
	options := memory.Options{File: file}
	s := open(t, options)
	for i := range 100 {
		set(t, s, fmt.Sprint(i), `{}`)
	}
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	damaged := whole[:len(whole)/2]
	require.NoError(t, os.WriteFile(file, damaged, 0o600))

	var l logs
	options.Logger = l.logger()
	s = open(t, options)
	info, err := s.Info(t.Context())
	require.NoError(t, err)
	require.Greater(t, info.Keys, int64(40))
	require.Less(t, info.Keys, int64(60))
	require.Equal(t, 1, l.count("level=WARN msg=\"memory: the file of records is damaged"))
	require.NoError(t, s.Close())

	aside := beside(t, file)
	require.Len(t, aside, 1)
	require.Contains(t, aside[0], "records.damaged-2")
	kept, err := os.ReadFile(filepath.Join(filepath.Dir(file), aside[0]))
	require.NoError(t, err)
	require.Equal(t, damaged, kept)
	s = open(t, options)
	again, err := s.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, info.Keys, again.Keys, "the sound part is in the new file")
	require.Len(t, beside(t, file), 1)
}

func TestAStoreWhoseFileCannotBeUsedWorksAndLogsItOnce(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]func(file string) error{
		"a directory":            func(file string) error { return os.Mkdir(file, 0o700) },
		"a link to itself":       func(file string) error { return os.Symlink(file, file) },
		"the directory's a file": func(file string) error { return os.WriteFile(filepath.Dir(file), nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "records")
			obstacle := file
			if name == "the directory's a file" {
				obstacle, file = file, filepath.Join(file, "records")
			}
			require.NoError(t, block(file))
			var l logs
			s := open(t, memory.Options{File: file, SaveInterval: time.Millisecond, Logger: l.logger()})
			set(t, s, "a", `{}`)
			require.Eventually(t, func() bool {
				set(t, s, "b", `{}`)
				return l.count("level=WARN") >= 2
			}, 10*time.Second, time.Millisecond)
			require.Equal(t, "{}", text(t, s, "a"))
			require.NoError(t, os.Remove(obstacle))
			require.Eventually(t, func() bool {
				set(t, s, "b", `{}`)
				return l.count("records are saved again") == 1
			}, 10*time.Second, time.Millisecond)
			require.Equal(t, 2, l.count("level=WARN"), "not at every attempt: %s", l.text.String())
			require.NoError(t, s.Close())
			require.Equal(t, "{}", text(t, open(t, memory.Options{File: file}), "a"))
		})
	}
}

func TestSymbolicLinkIsNeitherReadNorReplacedNorFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(t.TempDir(), "link")
	s := open(t, memory.Options{File: target})
	set(t, s, "a", `{}`)
	require.NoError(t, s.Close())
	was, err := os.ReadFile(target)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(target, link))

	var l logs
	s = open(t, memory.Options{File: link, Logger: l.logger()})
	require.Empty(t, text(t, s, "a"))
	set(t, s, "b", `{}`)
	require.NoError(t, s.Close())
	require.Equal(t, 2, l.count("is a symbolic link: want the name of the file itself"), l.text.String())
	to, err := os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, target, to)
	still, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, was, still)
	require.Empty(t, beside(t, target))
	require.Empty(t, beside(t, link))

	dangling := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(filepath.Join(dir, "new"), dangling))
	s = open(t, memory.Options{File: dangling})
	set(t, s, "b", `{}`)
	require.NoError(t, s.Close())
	require.NoFileExists(t, filepath.Join(dir, "new"))
}

func TestLinkToTheDirectoryIsFollowed(t *testing.T) { // systemd has some
	t.Parallel()
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	s := open(t, memory.Options{File: filepath.Join(link, "records")})
	set(t, s, "a", `{}`)
	s = restart(t, s, memory.Options{File: filepath.Join(dir, "records")})
	require.Equal(t, "{}", text(t, s, "a"))
}

func TestFileInADirectoryThatEverybodyMayWriteToIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]os.FileMode{"open": 0o777, "sticky": 0o777 | os.ModeSticky} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "state")
			file := filepath.Join(dir, "records")
			s := open(t, memory.Options{File: file})
			set(t, s, "session:user:forged", `{}`)
			require.NoError(t, s.Close())
			was, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.Chmod(dir, mode))

			var l logs
			s = open(t, memory.Options{File: file, Logger: l.logger()})
			require.Empty(t, text(t, s, "session:user:forged"))
			set(t, s, "b", `{}`)
			require.NoError(t, s.Close())
			require.Equal(t, 2, l.count("others may write to "+dir), l.text.String())
			still, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, was, still)
			require.Empty(t, beside(t, file))

			// a directory below a sticky one is safe: others cannot replace it
			below := memory.Options{File: filepath.Join(dir, "caddy", "records")}
			s = open(t, below)
			set(t, s, "c", `{}`)
			s = restart(t, s, below)
			require.Equal(t, name == "sticky", text(t, s, "c") == `{}`)
		})
	}
}
