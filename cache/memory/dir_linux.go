package memory

import (
	"os"

	"golang.org/x/sys/unix"
)

// openToSearch opens a directory that may be searched but not read, such as the
// home directory of another user.
const openToSearch = unix.O_PATH

// syncData does not sync the times of the file, which would cost another write.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}
