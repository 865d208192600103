// Package filesystem is the file system module lookup_cache, which caches the results of
// another file system for names. Everything that reads files through Caddy can use it,
// like file_server, try_files and file matchers.
package filesystem

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/metrics"
)

const (
	defaultTTL     = 2 * time.Second
	defaultMaxSize = 16 << 20

	// nameSize is the memory of a cached name in addition to its length, in
	// bytes.
	nameSize = 512
	// openFileSize is what an open file counts toward max_size, in bytes. It
	// takes less memory, but file descriptors are scarcer: 1024 open files fill
	// the default size.
	openFileSize = 16 << 10
)

// LookupCache is a file system over another one. It caches for the TTL what the
// other one returned for a name: that the file does not exist, that it is a
// directory, or that it is a file, which it keeps open. A request for a cached
// file looks up no name and opens nothing.
//
// Results are never older than the TTL. A change in place of a file on the
// server's disk is seen at once, because the open file is checked for each
// request. A file that was replaced or deleted is served in its old state, as a
// whole, until the TTL is over. If a file of another file system turns out to
// have changed, reading it fails and the next request opens it again, so that
// no response mixes the content of one state with the size or date of another.
//
// Only what file_server can use is cached: that a file does not exist,
// directories, and regular files. Other errors and files come from the other
// file system each time.
type LookupCache struct {
	// The underlying file system. Default: the server's disk.
	FileSystemRaw json.RawMessage `json:"file_system,omitempty" caddy:"namespace=caddy.fs inline_key=backend"`

	// How long a result is used, as a duration. Default: 2s.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// The most memory for cached names, in bytes. A name counts its length plus
	// 512 bytes, and 16KiB more with an open file. The least used names are
	// removed first. Default: 16MiB, which is up to 1024 open files.
	MaxSize int64 `json:"max_size,omitempty"`

	under   fs.FS
	entries *otter.Cache[string, *entry]
	flights singleflight.Group
	closed  atomic.Bool

	process  *lifetime.Process
	counters *cache.FileSystemCounters
}

// CaddyModule returns the Caddy module information.
func (*LookupCache) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.fs.lookup_cache",
		New: func() caddy.Module { return new(LookupCache) },
	}
}

// Provision loads the underlying file system.
func (c *LookupCache) Provision(ctx caddy.Context) error {
	c.process = lifetime.Join()
	c.counters = &c.process.Stats().FileSystem
	if err := metrics.Register(ctx.GetMetricsRegistry(), metrics.NewFileSystem(c.counters)); err != nil {
		return err
	}
	c.under = disk{}
	if len(c.FileSystemRaw) > 0 {
		module, err := ctx.LoadModule(c, "FileSystemRaw")
		if err != nil {
			return fmt.Errorf("loading the file system under lookup_cache: %w", err)
		}
		under, ok := module.(fs.FS)
		if !ok {
			return fmt.Errorf("module %T is not a file system", module)
		}
		c.under = under
	}
	if c.TTL == 0 {
		c.TTL = caddy.Duration(defaultTTL)
	}
	if c.MaxSize == 0 {
		c.MaxSize = defaultMaxSize
	}
	if c.TTL < 0 || c.MaxSize < 0 {
		return errors.New("ttl and max_size of lookup_cache cannot be negative")
	}
	var err error
	c.entries, err = otter.New(&otter.Options[string, *entry]{
		MaximumWeight: uint64(c.MaxSize),
		Weigher:       weigh,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, *entry]) time.Duration {
			return max(time.Duration(c.TTL)-time.Since(e.Value.began), 1)
		}),
		OnDeletion: func(e otter.DeletionEvent[string, *entry]) {
			c.counters.Remember(-1, -e.Value.openFiles(), -int64(weigh(e.Key, e.Value)))
			e.Value.release()
		},
	})
	return err
}

func weigh(name string, e *entry) uint32 {
	size := len(name) + nameSize
	if e.kept != nil {
		size += openFileSize
	}
	return uint32(size)
}

// Cleanup closes the files that are not being read. Running requests continue
// without the cache.
func (c *LookupCache) Cleanup() error {
	if c.process != nil {
		defer c.process.Leave()
	}
	if c.entries != nil {
		c.closed.Store(true)
		c.entries.InvalidateAll()
		c.entries.StopAllGoroutines()
	}
	return nil
}

// disk is Caddy's default file system, which file_server uses without fs: names
// are paths of the server.
type disk struct{}

func (disk) Open(name string) (fs.File, error) { return os.Open(name) }

// Interface guards
var (
	_ caddy.Provisioner  = (*LookupCache)(nil)
	_ caddy.CleanerUpper = (*LookupCache)(nil)
	_ fs.FS              = (*LookupCache)(nil)
)
