//go:build linux || openbsd || dragonfly || solaris || illumos || aix

package filesource

import "syscall"

// changed is when anything about a file was changed last.
func changed(stat *syscall.Stat_t) (seconds, fraction int64) {
	return int64(stat.Ctim.Sec), int64(stat.Ctim.Nsec)
}
