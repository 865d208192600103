//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package memory

import (
	"os"

	"golang.org/x/sys/unix"
)

// openToSearch needs directories that may be read, for want of a flag that all
// of these systems have.
const openToSearch = unix.O_RDONLY

func syncData(f *os.File) error { return f.Sync() }
