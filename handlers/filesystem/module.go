// Package filesystem has the file system module that remembers what another
// file system said of its names, for file_server, try_files, file matchers
// and whatever else reads files through Caddy.
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

	// nameSize is what a name takes in memory beside its bytes: what was
	// said of it, and otter's node and table slot.
	nameSize = 512
	// openFileSize is what a file that is kept open counts. It takes less,
	// but of descriptors there are fewer than of bytes: 1024 of them fill the
	// default size.
	openFileSize = 16 << 10
)

// LookupCache is a file system over another one. It remembers for the TTL
// what the other one said of a name: that there is no such file, that it is a
// directory, or that it is a file, which it keeps open, so that a request for
// it looks up no name and opens nothing.
//
// What it says is never older than the TTL. A file on the server's disk that
// is changed in place is seen changed at once, because the open file is asked
// each time. One that was replaced or deleted is, until the TTL is over,
// served as it was, whole. Where another file system's file turns out to have
// been changed, reading it fails and it is looked at again by the next
// request, so that no response mixes content with the size or date of another file.
//
// Only what file_server can make use of is remembered: that a file does not
// exist, directories, and regular files. Other errors and files come from the
// other file system each time.
type LookupCache struct {
	// The file system to remember things of. Default: the server's disk.
	FileSystemRaw json.RawMessage `json:"file_system,omitempty" caddy:"namespace=caddy.fs inline_key=backend"`

	// How long what was said of a name is believed. Default 2s.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// What is remembered at most, in bytes. A name takes its length and 512
	// bytes, and 16KiB more with an open file. What is used least goes first.
	// Default 16MiB, which is up to 1024 open files.
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

// Provision loads the other file system.
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
			e.Value.forget()
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

// Cleanup closes the files that are not being read. Requests that are under way go
// on, without anything being remembered for them.
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

// disk is Caddy's own default file system, which the file_server of a site
// without another one uses: names are paths of the server.
type disk struct{}

func (disk) Open(name string) (fs.File, error) { return os.Open(name) }

// Interface guards
var (
	_ caddy.Provisioner  = (*LookupCache)(nil)
	_ caddy.CleanerUpper = (*LookupCache)(nil)
	_ fs.FS              = (*LookupCache)(nil)
)
