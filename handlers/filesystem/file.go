// Open files of the cache: Stat returns the cached info; only Read reads the file itself.

package filesystem

import (
	"errors"
	"io"
	"io/fs"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
)

var (
	errChanged = errors.New("the file has changed since it was opened: open it again")
	errSeek    = errors.New("this file system's files cannot seek")
	errReadDir = errors.New("it is not a directory that can be read")
)

// keptFile reads from a shared file at a position of its own.
type keptFile struct {
	fsys    *LookupCache
	name    string
	entry   *entry
	offset  int64
	checked bool // the file was found to be in the cached state
	closed  atomic.Bool
}

// Stat returns the cached info.
func (f *keptFile) Stat() (fs.FileInfo, error) {
	if f.closed.Load() {
		return nil, f.failed("stat", fs.ErrClosed)
	}
	return f.entry.info, nil
}

// Read implements [io.Reader].
func (f *keptFile) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.offset)
	f.offset += int64(n)
	return n, err
}

// ReadAt implements [io.ReaderAt].
func (f *keptFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.check("read"); err != nil {
		return 0, err
	}
	return f.entry.kept.file.(io.ReaderAt).ReadAt(p, offset)
}

// Seek implements [io.Seeker].
func (f *keptFile) Seek(offset int64, whence int) (int64, error) {
	if err := f.check("seek"); err != nil {
		return 0, err
	}
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		end, err := f.size()
		if err != nil {
			return 0, err
		}
		offset += end
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, f.failed("seek", fs.ErrInvalid)
	}
	f.offset = offset
	return offset, nil
}

// size is the size of the content that Read returns. For a live file it is the current
// size, as for any open file.
func (f *keptFile) size() (int64, error) {
	if f.entry.live {
		// no reader uses the position of the shared file
		return f.entry.kept.file.(io.Seeker).Seek(0, io.SeekEnd)
	}
	return f.entry.info.Size(), nil
}

// check verifies, before a size or content is returned, that the file is still in the
// cached state. A live file was verified when it was opened.
func (f *keptFile) check(op string) error {
	switch {
	case f.closed.Load():
		return f.failed(op, fs.ErrClosed)
	case f.checked, f.entry.live:
		return nil
	case !f.entry.holds(f.entry.kept.file):
		f.fsys.drop(f.name, f.entry)
		return f.failed(op, errChanged)
	}
	f.checked = true
	return nil
}

// Close implements [io.Closer].
func (f *keptFile) Close() error {
	if f.closed.Swap(true) {
		return f.failed("close", fs.ErrClosed)
	}
	f.entry.kept.release()
	return nil
}

func (f *keptFile) failed(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// lazyFile is a directory or a file that cannot be shared. It is opened by the
// first read.
type lazyFile struct {
	fsys   *LookupCache
	name   string
	entry  *entry
	file   fs.File // nil until the first read
	closed bool
}

// Stat returns the cached info.
func (f *lazyFile) Stat() (fs.FileInfo, error) {
	if f.closed {
		return nil, f.failed("stat", fs.ErrClosed)
	}
	return f.entry.info, nil
}

// Read implements [io.Reader].
func (f *lazyFile) Read(p []byte) (int, error) {
	if err := f.open("read"); err != nil {
		return 0, err
	}
	return f.file.Read(p)
}

// Seek implements [io.Seeker].
func (f *lazyFile) Seek(offset int64, whence int) (int64, error) {
	if err := f.open("seek"); err != nil {
		return 0, err
	}
	if file, ok := f.file.(io.Seeker); ok {
		return file.Seek(offset, whence)
	}
	return 0, f.failed("seek", errSeek)
}

// ReadDir implements [fs.ReadDirFile].
func (f *lazyFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if err := f.open("readdir"); err != nil {
		return nil, err
	}
	if file, ok := f.file.(fs.ReadDirFile); ok {
		return file.ReadDir(n)
	}
	return nil, f.failed("readdir", errReadDir)
}

// open opens the file and verifies that it is in the cached state.
func (f *lazyFile) open(op string) error {
	if f.closed {
		return f.failed(op, fs.ErrClosed)
	}
	if f.file != nil {
		return nil
	}
	file, err := f.fsys.under.Open(f.name)
	if err != nil {
		f.fsys.drop(f.name, f.entry)
		return err
	}
	if !f.entry.holds(file) {
		f.fsys.drop(f.name, f.entry)
		file.Close()
		return f.failed(op, errChanged)
	}
	f.file = file
	return nil
}

// Close implements [io.Closer].
func (f *lazyFile) Close() error {
	if f.closed {
		return f.failed("close", fs.ErrClosed)
	}
	f.closed = true
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

func (f *lazyFile) failed(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// drop removes the entry of a name, unless it was replaced meanwhile.
func (c *LookupCache) drop(name string, e *entry) {
	c.entries.ComputeIfPresent(name, func(now *entry) (*entry, otter.ComputeOp) {
		if now == e {
			return nil, otter.InvalidateOp
		}
		return now, otter.CancelOp
	})
}

// Interface guards
var (
	_ io.ReadSeeker  = (*keptFile)(nil)
	_ io.ReaderAt    = (*keptFile)(nil)
	_ fs.ReadDirFile = (*lazyFile)(nil)
	_ io.ReadSeeker  = (*lazyFile)(nil)
)
