//go:build unix

package filesource

import (
	"io/fs"
	"strconv"
	"syscall"
	"time"
)

// fileVersion identifies the file and its last change. Unlike the date, a user
// who may write to the file cannot set it.
type fileVersion struct {
	device, file      uint64
	seconds, fraction int64
}

// doNotWait is the flag for opening a file that need not be waited for.
const doNotWait = syscall.O_NONBLOCK

func versionOf(info fs.FileInfo) fileVersion {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileVersion{} // of another file system
	}
	seconds, fraction := changeTime(stat)
	return fileVersion{uint64(stat.Dev), uint64(stat.Ino), seconds, fraction}
}

// changed is the time of the last change of the file's content or metadata.
func (v fileVersion) changed() time.Time { return time.Unix(v.seconds, v.fraction) }

// inKey identifies the version on all nodes with the same file. It omits the
// device, whose number differs between nodes.
func (v fileVersion) inKey() string {
	if v == (fileVersion{}) {
		return ""
	}
	return "-" + strconv.FormatUint(v.file, 36) + "-" + strconv.FormatInt(v.seconds, 36) + "." + strconv.FormatInt(v.fraction, 36)
}
