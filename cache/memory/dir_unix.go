//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package memory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may have.
const maxLinks = 40

// dirUnix is a directory by its file descriptor.
type dirUnix struct {
	path string
	fd   int
}

// openDirectory opens a directory. It makes missing directories, for this user
// alone. It walks from the root, one directory at a time, and refuses a path on
// which another user could replace files: each directory and each symbolic link
// must belong to root or to this user, and no directory may be writable by its
// group or by others. A directory with the sticky bit, like /tmp, may be,
// unless it is the last one.
func openDirectory(path string) (directory, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	w := walk{fd: -1, ahead: names(path)}
	defer w.leave()
	if err := w.fromRoot(); err != nil {
		return nil, err
	}
	for len(w.ahead) > 0 {
		if err := w.step(); err != nil {
			return nil, err
		}
	}
	if w.shared {
		return nil, fmt.Errorf("others may write to %s: want a directory that only its owner may write to", w.path)
	}
	// the last directory of the walk may not be open for reading
	fd, err := openat(w.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, failed("open", w.path, err)
	}
	return &dirUnix{path, fd}, nil
}

func names(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}

// walk is a walk along a path.
type walk struct {
	path  string // of the directory that it has reached
	fd    int    // of that directory
	ahead []string
	links int
	// shared reports whether other users may make files here. They cannot replace
	// those of this user.
	shared bool
}

func (w *walk) leave() {
	if w.fd >= 0 {
		_ = unix.Close(w.fd)
	}
	w.fd = -1
}

func (w *walk) fromRoot() error {
	fd, err := openat(unix.AT_FDCWD, "/", openToSearch|unix.O_DIRECTORY)
	if err != nil {
		return failed("open", "/", err)
	}
	return w.enter("/", fd)
}

// enter continues the walk in a directory, if that can be trusted.
func (w *walk) enter(path string, fd int) error {
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		_ = unix.Close(fd)
		return failed("stat", path, err)
	}
	writable, sticky := info.Mode&0o022 != 0, info.Mode&unix.S_ISVTX != 0
	err := ours(path, &info)
	if err == nil && writable && !sticky {
		err = fmt.Errorf("others may write to %s (mode %04o): want chmod go-w", path, info.Mode&0o7777)
	}
	w.path, w.fd, w.shared = path, fd, writable
	return err
}

// step enters the next directory, which it makes if it is missing, or follows a
// symbolic link.
func (w *walk) step() error {
	name := w.ahead[0]
	w.ahead = w.ahead[1:]
	path := filepath.Join(w.path, name)
	fd, err := openat(w.fd, name, openToSearch|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		if err = unix.Mkdirat(w.fd, name, 0o700); err == nil || errors.Is(err, unix.EEXIST) {
			fd, err = openat(w.fd, name, openToSearch|unix.O_DIRECTORY)
		}
	}
	if err == nil {
		w.leave()
		return w.enter(path, fd)
	}
	var info unix.Stat_t
	if unix.Fstatat(w.fd, name, &info, unix.AT_SYMLINK_NOFOLLOW) != nil || info.Mode&unix.S_IFMT != unix.S_IFLNK {
		return failed("open", path, err)
	}
	if err := ours(path, &info); err != nil {
		return err
	}
	return w.follow(name, path)
}

func (w *walk) follow(name, path string) error {
	if w.links++; w.links > maxLinks {
		return failed("open", path, unix.ELOOP)
	}
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(w.fd, name, target)
	if err != nil {
		return failed("readlink", path, err)
	}
	to := string(target[:n])
	w.ahead = append(names(to), w.ahead...)
	if !filepath.IsAbs(to) {
		return nil
	}
	w.leave()
	return w.fromRoot()
}

// ours returns an error if a file belongs neither to root nor to this user.
func ours(path string, info *unix.Stat_t) error {
	if me := os.Geteuid(); info.Uid != 0 && int(info.Uid) != me {
		return fmt.Errorf("%s belongs to the user %d: want root or %d, which this process runs as", path, info.Uid, me)
	}
	return nil
}

// trusted returns an error if another user may have written a file.
func trusted(path string, info *unix.Stat_t) error {
	switch {
	case info.Mode&unix.S_IFMT == unix.S_IFLNK:
		return errLink(path)
	case info.Mode&unix.S_IFMT != unix.S_IFREG:
		return errIrregular(path)
	case info.Mode&0o022 != 0:
		return fmt.Errorf("others may write to %s (mode %04o): want chmod go-w", path, info.Mode&0o7777)
	}
	return ours(path, info)
}

func (d *dirUnix) in(name string) string { return filepath.Join(d.path, name) }

func (d *dirUnix) check(name string) error {
	var info unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &info, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return failed("stat", d.in(name), err)
	}
	return trusted(d.in(name), &info)
}

func (d *dirUnix) open(name string) (diskFile, error) { return d.openFile(name, unix.O_RDONLY) }

func (d *dirUnix) create(name string) (diskFile, error) {
	return d.openFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
}

// openFile opens a trusted file. It does not block on a pipe.
func (d *dirUnix) openFile(name string, flags int) (diskFile, error) {
	fd, err := openat(d.fd, name, flags|unix.O_NONBLOCK)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK) { // EMLINK is FreeBSD's error
		return nil, errLink(d.in(name))
	}
	if err != nil {
		return nil, failed("open", d.in(name), err)
	}
	f := unixFile{os.NewFile(uintptr(fd), d.in(name))}
	var info unix.Stat_t
	if err = unix.Fstat(fd, &info); err == nil {
		err = trusted(d.in(name), &info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// unixFile is a file whose Sync writes what is needed to read it back.
type unixFile struct{ *os.File }

func (f unixFile) Sync() error { return syncData(f.File) }

func (d *dirUnix) rename(from, to string) error {
	if err := unix.Renameat(d.fd, from, d.fd, to); err != nil {
		return failed("rename", d.in(to), err)
	}
	return nil
}

func (d *dirUnix) remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil {
		return failed("remove", d.in(name), err)
	}
	return nil
}

func (d *dirUnix) names() ([]string, error) {
	fd, err := openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, failed("open", d.path, err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d *dirUnix) sync() error {
	err := unix.Fsync(d.fd)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil // the file system cannot sync directories
	}
	if err != nil {
		return failed("sync", d.path, err)
	}
	return nil
}

func (d *dirUnix) lock(name string) (io.Closer, error) {
	f, err := d.openFile(name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.(unixFile).Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, failed("lock", d.in(name), err)
	}
	return f, nil
}

func (d *dirUnix) close() error { return unix.Close(d.fd) }

// openat opens a file for this process alone and does not follow a symbolic
// link.
func openat(dir int, name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func failed(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }
