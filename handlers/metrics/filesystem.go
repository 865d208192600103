package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/filewallball/caddy-filewallball/cache"
)

var (
	fileSystemLookups = desc("filesystem_lookups_total", "Names opened in file systems of type lookup_cache, by result. The results hit and absent came from the cache.", "result")
	fileSystemEntries = desc("filesystem_entries", "Names that file systems of type lookup_cache have cached.")
	fileSystemOpen    = desc("filesystem_open_files", "Files that file systems of type lookup_cache keep open.")
	fileSystemBytes   = desc("filesystem_bytes", "Size of what file systems of type lookup_cache have cached, as max_size counts it.")
)

// FileSystem reads the counters of all file systems of type lookup_cache. They work without
// the app of the cache, so they have a collector of their own.
type FileSystem struct{ counters *cache.FileSystemCounters }

// NewFileSystem returns a collector over the counters.
func NewFileSystem(counters *cache.FileSystemCounters) *FileSystem { return &FileSystem{counters} }

// Describe implements [prometheus.Collector].
func (*FileSystem) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{fileSystemLookups, fileSystemEntries, fileSystemOpen, fileSystemBytes} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *FileSystem) Collect(ch chan<- prometheus.Metric) {
	s, n := sink{ch}, c.counters.Counts()
	s.counter(fileSystemLookups, float64(n.Hits), "hit")
	s.counter(fileSystemLookups, float64(n.Absent), "absent")
	s.counter(fileSystemLookups, float64(n.Misses), "miss")
	s.counter(fileSystemLookups, float64(n.Errors), "error")
	s.gauge(fileSystemEntries, float64(n.Entries))
	s.gauge(fileSystemOpen, float64(n.OpenFiles))
	s.gauge(fileSystemBytes, float64(n.Bytes))
}
