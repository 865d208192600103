package cache

import "sync/atomic"

// FileSystemResult is what a look at a name in a remembering file system came to.
type FileSystemResult int

// The results.
const (
	FileSystemHit     FileSystemResult = iota // it was remembered
	FileSystemAbsent                          // it was remembered that there is none
	FileSystemMiss                            // the file system under it was asked
	FileSystemError                           // and failed, other than that there is none
	fileSystemResults = iota
)

// FileSystemCounters counts what file systems that remember names do. The zero
// value is ready to use.
type FileSystemCounters struct {
	results                   [fileSystemResults]atomic.Uint64
	entries, openFiles, bytes atomic.Int64
}

// FileSystemCounts are the counts until now, and what is remembered now.
type FileSystemCounts struct {
	Hits   uint64 `json:"hits"`
	Absent uint64 `json:"absent"`
	Misses uint64 `json:"misses"`
	Errors uint64 `json:"errors"`
	// Entries are names that are remembered, OpenFiles the files kept open.
	Entries   int64 `json:"entries"`
	OpenFiles int64 `json:"open_files"`
	Bytes     int64 `json:"bytes"`
}

// Count counts a look at a name.
func (c *FileSystemCounters) Count(result FileSystemResult) { c.results[result].Add(1) }

// Remember counts what is remembered from now on, or no more where the numbers
// are negative.
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
