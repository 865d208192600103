// Opening a name: from the cache, or from the underlying file system, once for
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

// maxNameLength is the longest name that is cached, in bytes. Systems that
// Caddy runs on cannot open longer names.
const maxNameLength = 4096

// glanceTTL is how long a file on the server's disk is taken as unchanged after it was
// checked. A request opens a file twice or more: one check is enough for all of them.
const glanceTTL = time.Millisecond

// entry is what the underlying file system returned for a name.
type entry struct {
	began time.Time // start of the fetch
	err   error     // the file does not exist
	info  fs.FileInfo
	kept  *handle // the open file, if it can be shared
	// live reports whether the open file can be checked for changes at little cost.
	live bool
	// checked is the time of the last check of a live file, in nanoseconds since began.
	checked atomic.Int64
}

// Open opens a name. The result is that of the underlying file system, now or
// less than the TTL ago.
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

// isMissing reports whether an error means that the file does not exist.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// open opens a cached name. ok is false if the entry is no longer valid.
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

// glance reports whether a live file is unchanged.
func (e *entry) glance() bool {
	age := int64(time.Since(e.began))
	if age-e.checked.Load() < int64(glanceTTL) {
		return true
	}
	if !e.holds(e.kept.file) {
		return false
	}
	e.checked.Store(age)
	return true
}

// fetch opens a name in the underlying file system, once for all concurrent
// callers. old is the entry that is no longer valid.
func (c *LookupCache) fetch(name string, old *entry) (fs.File, error) {
	var mine fs.File // a file that is not cached goes to the caller that opened it
	v, err, _ := c.flights.Do(name, func() (any, error) {
		if e, ok := c.entries.GetIfPresent(name); ok && e != old {
			return e, nil // another fetch has just ended
		}
		e, file, err := c.openUncached(name)
		if e == nil {
			mine = file
			return nil, err
		}
		c.counters.Remember(1, e.openFiles(), int64(weigh(name, e)))
		c.entries.Set(name, e)
		if c.closed.Load() {
			c.entries.Invalidate(name) // Cleanup may have run before it
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

// openUncached opens a file of the underlying file system. If the result cannot be cached,
// it returns the file or error instead of an entry.
func (c *LookupCache) openUncached(name string) (*entry, fs.File, error) {
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
		return nil, file, nil // not cached: the next caller opens it again
	}
	e := &entry{began: began, info: info}
	_, onDisk := file.(*os.File)
	_, shareable := file.(io.ReaderAt)
	shareable = shareable && runtime.GOOS != "windows" // Windows cannot replace open files
	e.live = onDisk && shareable
	switch {
	case info.IsDir():
	case !info.Mode().IsRegular(), !e.live && began.Sub(info.ModTime()) < time.Duration(c.TTL):
		// a file that has just changed may change again, and reading it would
		// then fail
		return nil, file, nil
	case shareable:
		e.kept = newHandle(file)
		return e, nil, nil
	}
	file.Close() // an error is no loss: the file was only read
	return e, nil, nil
}

// holds reports whether a file is still in the cached state.
func (e *entry) holds(file fs.File) bool {
	info, err := file.Stat()
	if err != nil || info.IsDir() != e.info.IsDir() {
		return false
	}
	return info.IsDir() || info.Size() == e.info.Size() && info.ModTime().Equal(e.info.ModTime())
}

// openFiles is the number of open files of an entry.
func (e *entry) openFiles() int64 {
	if e.kept != nil {
		return 1
	}
	return 0
}

// release releases the file of an entry that was removed.
func (e *entry) release() {
	if e.kept != nil {
		e.kept.release()
	}
}
