//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

// Systems on which modes and owners do not say who may write to a file, or on
// which files cannot be opened relative to a directory. Here the store only
// refuses symbolic links and files that are not regular; the permissions of the
// directory must protect the rest.

package memory

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// dirOther is a directory by its path.
type dirOther struct{ path string }

func openDirectory(path string) (directory, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return &dirOther{path}, os.MkdirAll(path, 0o700)
}

func (d *dirOther) in(name string) string { return filepath.Join(d.path, name) }

func (d *dirOther) check(name string) error {
	info, err := os.Lstat(d.in(name))
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return errLink(d.in(name))
	case !info.Mode().IsRegular():
		return errIrregular(d.in(name))
	}
	return nil
}

func (d *dirOther) open(name string) (diskFile, error) {
	if err := d.check(name); err != nil {
		return nil, err
	}
	return os.Open(d.in(name))
}

func (d *dirOther) create(name string) (diskFile, error) {
	return os.OpenFile(d.in(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (d *dirOther) rename(from, to string) error { return os.Rename(d.in(from), d.in(to)) }

func (d *dirOther) remove(name string) error { return os.Remove(d.in(name)) }

func (d *dirOther) names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, err
}

// sync does nothing: directories cannot be synced on these systems.
func (d *dirOther) sync() error { return nil }

func (d *dirOther) lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(d.in(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (d *dirOther) close() error { return nil }
