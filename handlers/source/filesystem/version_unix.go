//go:build unix

package filesource

import (
	"io/fs"
	"syscall"
)

// fileVersion is which file it is, and when anything about it was changed last.
// Who may write to a file can set its date, but not this.
type fileVersion struct {
	device, file      uint64
	seconds, fraction int64
}

func versionOf(info fs.FileInfo) fileVersion {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileVersion{} // of another file system
	}
	seconds, fraction := changed(stat)
	return fileVersion{uint64(stat.Dev), uint64(stat.Ino), seconds, fraction}
}
