//go:build linux || openbsd || dragonfly || solaris || illumos || aix

package filesource

import "syscall"

// changeTime is when anything about a file was changed last.
func changeTime(stat *syscall.Stat_t) (seconds, fraction int64) {
	return int64(stat.Ctim.Sec), int64(stat.Ctim.Nsec)
}
