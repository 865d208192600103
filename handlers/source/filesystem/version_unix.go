//go:build unix

package filesource

import (
	"io/fs"
	"strconv"
	"syscall"
	"time"
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
	seconds, fraction := changeTime(stat)
	return fileVersion{uint64(stat.Dev), uint64(stat.Ino), seconds, fraction}
}

// changed is when anything about the file was changed last.
func (v fileVersion) changed() time.Time { return time.Unix(v.seconds, v.fraction) }

// inKey is what tells the version from others on all nodes that have the same
// file: not the device, whose number each gives by itself.
func (v fileVersion) inKey() string {
	if v == (fileVersion{}) {
		return ""
	}
	return "-" + strconv.FormatUint(v.file, 36) + "-" + strconv.FormatInt(v.seconds, 36) + "." + strconv.FormatInt(v.fraction, 36)
}
