//go:build darwin || freebsd || netbsd

package filesource

import "syscall"

// changeTime is when anything about a file was changed last.
func changeTime(stat *syscall.Stat_t) (seconds, fraction int64) {
	return int64(stat.Ctimespec.Sec), int64(stat.Ctimespec.Nsec)
}
