//go:build unix

package memory_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/memory"
)

// stranger is a user that this process does not run as.
const stranger = 54321

// A file that another user may have written is neither read, nor replaced, nor
// moved; nor is one in a directory that another user may change.
func TestFilesThatOthersMayWriteToAreNotUsed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(top, dir, file string) error // of top/state/caddy/records
		want   string
		root   bool // only root can make it so
	}{
		"a file of its group":      {change: func(_, _, file string) error { return os.Chmod(file, 0o620) }, want: "want chmod go-w"},
		"a file of everybody":      {change: func(_, _, file string) error { return os.Chmod(file, 0o602) }, want: "want chmod go-w"},
		"a directory of its group": {change: func(_, dir, _ string) error { return os.Chmod(dir, 0o770) }, want: "want chmod go-w"},
		"a directory of everybody": {change: func(_, dir, _ string) error { return os.Chmod(dir, 0o703) }, want: "want chmod go-w"},
		"a sticky directory":       {change: func(_, dir, _ string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, want: "only its owner may write to"},
		"an ancestor of its group": {change: func(top, _, _ string) error { return os.Chmod(top, 0o770) }, want: "want chmod go-w"},
		"an ancestor of everybody": {change: func(top, _, _ string) error { return os.Chmod(top, 0o777) }, want: "want chmod go-w"},
		"another user's file": {
			change: func(_, _, file string) error { return os.Chown(file, stranger, -1) }, want: "belongs to the user 54321", root: true},
		"another user's directory": {
			change: func(_, dir, _ string) error { return os.Chown(dir, stranger, -1) }, want: "belongs to the user 54321", root: true},
		"another user's ancestor": {
			change: func(top, _, _ string) error { return os.Chown(top, stranger, -1) }, want: "belongs to the user 54321", root: true},
		"a link to the file": {change: func(top, _, file string) error {
			return linkInstead(file, filepath.Join(top, "elsewhere"))
		}, want: "is a symbolic link"},
		"a link to a directory that others may write to": {change: func(top, dir, _ string) error {
			elsewhere := filepath.Join(top, "elsewhere")
			if err := linkInstead(dir, filepath.Join(elsewhere, "caddy")); err != nil {
				return err
			}
			return os.Chmod(elsewhere, 0o777)
		}, want: "want chmod go-w"},
		"another user's link to the directory": {change: func(top, dir, _ string) error {
			if err := linkInstead(dir, filepath.Join(top, "elsewhere")); err != nil {
				return err
			}
			return os.Lchown(dir, stranger, -1)
		}, want: "belongs to the user 54321", root: true},
		"links without end": {change: func(top, dir, _ string) error {
			if err := os.Rename(dir, filepath.Join(top, "elsewhere")); err != nil {
				return err
			}
			return os.Symlink("caddy", dir)
		}, want: "too many levels of symbolic links"},
		"a pipe": {change: func(_, _, file string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return syscall.Mkfifo(file, 0o600)
		}, want: "is not a regular file"},
	} {
		if test.root && os.Geteuid() != 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir := filepath.Join(top, "state", "caddy")
			file := filepath.Join(dir, "records")
			s := open(t, memory.Options{File: file})
			set(t, s, "session:user:forged", `{}`)
			require.NoError(t, s.Close())
			require.NoError(t, test.change(top, dir, file))
			before := tree(t, top)

			var l logs
			s = open(t, memory.Options{File: file, Logger: l.logger()})
			require.Empty(t, text(t, s, "session:user:forged"))
			set(t, s, "b", `{}`)
			require.Eventually(t, func() bool { return s.FileStatus().Err != nil }, patience, tick)
			require.ErrorContains(t, s.FileStatus().Err, test.want)
			require.NoError(t, s.Close())
			require.Positive(t, l.count(test.want), l.text.String())
			require.Equal(t, before, tree(t, top))
		})
	}
}

// linkInstead moves what is at a path and leaves a link to it.
func linkInstead(path, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(path, to); err != nil {
		return err
	}
	return os.Symlink(to, path)
}

// tree lists what is below a directory, with the content of files; locks left out.
func tree(t *testing.T, top string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	require.NoError(t, filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) == ".lock" {
			return err
		}
		found[path] = entry.Type().String()
		if entry.Type().IsRegular() {
			content, err := os.ReadFile(path)
			found[path] = string(content)
			return err
		}
		return nil
	}))
	return found
}

func TestLinksOfRootAndOfThisUserAreFollowed(t *testing.T) { // systemd has some
	t.Parallel()
	top := t.TempDir()
	private := filepath.Join(top, "private", "caddy")
	require.NoError(t, os.MkdirAll(private, 0o700))
	require.NoError(t, os.Symlink("private/caddy", filepath.Join(top, "relative")))
	require.NoError(t, os.Symlink(private, filepath.Join(top, "absolute")))
	require.NoError(t, os.Symlink("../absolute/../../private/./caddy", filepath.Join(top, "private", "roundabout")))
	for i, way := range []string{"relative", "absolute", "private/roundabout", "private/caddy"} {
		s := open(t, memory.Options{File: filepath.Join(top, way, "records")})
		if i > 0 {
			require.Equal(t, "{}", text(t, s, "a"), way)
		}
		set(t, s, "a", `{}`)
		require.NoError(t, s.Close())
	}
	require.FileExists(t, filepath.Join(private, "records"))
}
