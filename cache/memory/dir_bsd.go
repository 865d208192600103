//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package memory

import (
	"os"

	"golang.org/x/sys/unix"
)

// openToSearch needs directories that may be read: these systems have no common
// flag for opening a directory only to search it.
const openToSearch = unix.O_RDONLY

func syncData(f *os.File) error { return f.Sync() }
