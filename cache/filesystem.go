package cache

import "sync/atomic"

// FileSystemResult is the result of looking a name up in a file system of type
// lookup_cache.
type FileSystemResult int

// The results.
const (
	FileSystemHit     FileSystemResult = iota // the name is cached
	FileSystemAbsent                          // the absence of the name is cached
	FileSystemMiss                            // the file system below was asked
	FileSystemError                           // the file system below failed
	fileSystemResults = iota
)

// FileSystemCounters counts for all file systems of type lookup_cache. The zero value
// is ready to use.
type FileSystemCounters struct {
	results                   [fileSystemResults]atomic.Uint64
	entries, openFiles, bytes atomic.Int64
}

// FileSystemCounts are the counts until now, and what is cached now.
type FileSystemCounts struct {
	Hits   uint64 `json:"hits"`
	Absent uint64 `json:"absent"`
	Misses uint64 `json:"misses"`
	Errors uint64 `json:"errors"`
	// Entries is the number of cached names, OpenFiles that of files kept open, and
	// Bytes the size of the cached contents.
	Entries   int64 `json:"entries"`
	OpenFiles int64 `json:"open_files"`
	Bytes     int64 `json:"bytes"`
}

// Count counts the lookup of a name.
func (c *FileSystemCounters) Count(result FileSystemResult) { c.results[result].Add(1) }

// Remember adds to the numbers of what is cached now. Negative numbers subtract.
func (c *FileSystemCounters) Remember(entries, openFiles, bytes int64) {
	c.entries.Add(entries)
	c.openFiles.Add(openFiles)
	c.bytes.Add(bytes)
}

// Counts reads the counters.
func (c *FileSystemCounters) Counts() FileSystemCounts {
	return FileSystemCounts{
		Hits: c.results[FileSystemHit].Load(), Absent: c.results[FileSystemAbsent].Load(),
		Misses: c.results[FileSystemMiss].Load(), Errors: c.results[FileSystemError].Load(),
		Entries: c.entries.Load(), OpenFiles: c.openFiles.Load(), Bytes: c.bytes.Load(),
	}
}
