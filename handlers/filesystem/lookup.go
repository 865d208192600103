// Opening a name: from the cache, or from the file system under it, once for
// all concurrent callers.

package filesystem

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// maxNameLength is that of names anything is remembered of, in bytes. No file
// that can be opened has a longer one on the systems Caddy runs on.
const maxNameLength = 4096

// glanceTTL is how long a file on the server's disk is believed after the
// open file was asked whether it has changed. It makes one glance of the two
// or more times that a request opens a file.
const glanceTTL = time.Millisecond

// entry is what the file system said of a name.
type entry struct {
	began time.Time // the fetch
	err   error     // there is no such file
	info  fs.FileInfo
	kept  *handle // the file, where it can be shared by all who read it
	// live: the kept file says at little cost whether it has changed, and was
	// asked this long after the fetch began
	live  bool
	asked atomic.Int64
}

// Open opens a name. It says of it what the file system under this one does,
// or did less than the TTL ago.
func (c *LookupCache) Open(name string) (fs.File, error) {
	if len(name) > maxNameLength || c.closed.Load() {
		return c.under.Open(name)
	}
	e, ok := c.entries.GetIfPresent(name)
	if ok {
		if file, ok := c.open(name, e); ok {
			if e.err == nil {
				c.counters.Count(cache.FileSystemHit)
			} else {
				c.counters.Count(cache.FileSystemAbsent)
			}
			return file, e.err
		}
	}
	file, err := c.fetch(name, e)
	if err == nil || isMissing(err) {
		c.counters.Count(cache.FileSystemMiss)
	} else {
		c.counters.Count(cache.FileSystemError)
	}
	return file, err
}

// isMissing reports whether an error says that there is no such file.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// open opens a name that something is remembered of. It is not ok where that
// holds no more.
func (c *LookupCache) open(name string, e *entry) (file fs.File, ok bool) {
	switch {
	case e.err != nil:
		return nil, true
	case e.kept == nil:
		return &lazyFile{fsys: c, name: name, entry: e}, true
	case !e.kept.acquire():
		return nil, false
	}
	if e.live && !e.glance() {
		e.kept.release()
		return nil, false
	}
	return &keptFile{fsys: c, name: name, entry: e}, true
}

// glance reports whether a live file still is what was said of it.
func (e *entry) glance() bool {
	age := int64(time.Since(e.began))
	if age-e.asked.Load() < int64(glanceTTL) {
		return true
	}
	if !e.holds(e.kept.file) {
		return false
	}
	e.asked.Store(age)
	return true
}

// fetch opens a name in the file system under this one, once for all concurrent
// callers. old is the entry that is no longer valid.
func (c *LookupCache) fetch(name string, old *entry) (fs.File, error) {
	var mine fs.File // a file that is not cached goes to the caller that opened it
	v, err, _ := c.flights.Do(name, func() (any, error) {
		if e, ok := c.entries.GetIfPresent(name); ok && e != old {
			return e, nil // from a fetch that ended just now
		}
		e, file, err := c.ask(name)
		if e == nil {
			mine = file
			return nil, err
		}
		c.counters.Remember(1, e.openFiles(), int64(weigh(name, e)))
		c.entries.Set(name, e)
		if c.closed.Load() {
			c.entries.Invalidate(name) // Cleanup may have come before it
		}
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	if mine != nil {
		return mine, nil
	}
	if e, ok := v.(*entry); ok {
		if file, ok := c.open(name, e); ok {
			return file, e.err
		}
	}
	return c.under.Open(name)
}

// ask opens a file. Where there is nothing to remember it returns the file
// or error instead of an entry.
func (c *LookupCache) ask(name string) (*entry, fs.File, error) {
	began := time.Now()
	file, err := c.under.Open(name)
	if err != nil {
		if isMissing(err) {
			return &entry{began: began, err: err}, nil, nil
		}
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, file, nil // not cached: the next caller asks again
	}
	e := &entry{began: began, info: info}
	_, onDisk := file.(*os.File)
	_, shareable := file.(io.ReaderAt)
	shareable = shareable && runtime.GOOS != "windows" // which does not replace open files
	e.live = onDisk && shareable
	switch {
	case info.IsDir():
	case !info.Mode().IsRegular(), !e.live && began.Sub(info.ModTime()) < time.Duration(c.TTL):
		// what was changed a moment ago may be changed again, and reading it
		// would fail if it was
		return nil, file, nil
	case shareable:
		e.kept = newHandle(file)
		return e, nil, nil
	}
	file.Close() // nothing was written to it
	return e, nil, nil
}

// holds reports whether a file still is what was said of it.
func (e *entry) holds(file fs.File) bool {
	info, err := file.Stat()
	if err != nil || info.IsDir() != e.info.IsDir() {
		return false
	}
	return info.IsDir() || info.Size() == e.info.Size() && info.ModTime().Equal(e.info.ModTime())
}

// openFiles is how many files are kept open for an entry.
func (e *entry) openFiles() int64 {
	if e.kept != nil {
		return 1
	}
	return 0
}

// forget lets go of the file, for the entry is no more remembered.
func (e *entry) forget() {
	if e.kept != nil {
		e.kept.release()
	}
}
