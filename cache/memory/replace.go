// How the file of a store is written: aside, and put in place when it is whole
// and on the disk. Whenever the process or the machine dies, there is a whole
// file, the old one or the new one. Two processes that write the same file
// leave the one of whoever was last.

package memory

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	// savingInfix is what is in the names of files that are being written.
	savingInfix = ".saving-"
	// abandoned is how long nothing was written to a file whose writer is dead.
	abandoned = time.Minute
)

// replace puts a new file in place of what is there. Only the user that the
// process runs as can read it. Its directory is made if it is not there.
func replace(path string, write func(io.Writer) error) (err error) {
	if err := trusted(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	removeAbandoned(dir, name+savingInfix)
	f, err := os.CreateTemp(dir, name+savingInfix+"*") // for this user alone
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// syncDir makes a rename last. Where a directory cannot be synced, the rename
// has happened all the same, and lasts as soon as the system writes it.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// removeAbandoned drops what processes that died in the middle of a save have
// left. One that is alive writes all the while.
func removeAbandoned(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}

// setAside renames what is at path, if anything, and tells to what.
func setAside(path, why string) (to string, err error) {
	if err := trusted(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	to = fmt.Sprintf("%s.%s-%s", path, why, time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := os.Rename(path, to); err != nil {
		return "", err
	}
	return to, nil
}

// trusted refuses what is no ordinary file: opening a pipe waits for somebody
// to write to it, a device is not to be replaced, and a symbolic link can make
// us read and move whatever this process may. It also refuses a directory that
// everybody may write to, sticky or not: a file of records that somebody else
// has put there lets them in.
func trusted(path string) error {
	dir := filepath.Dir(path)
	// modes of Windows do not tell who may write
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o002 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("everybody may write to %s: want a directory of its own", dir)
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link: want the name of the file itself", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	}
	return nil
}
