// The directory of a store's file. Files are used by their names in an open
// directory, so that no other process can replace the directory between a check
// and a use.

package memory

import (
	"errors"
	"fmt"
	"io"
)

// directory has the files of a store. It is open until close.
type directory interface {
	// check refuses a file that another user may have written, one that is not a
	// regular file, and a symbolic link. For a file that does not exist, the error
	// wraps fs.ErrNotExist.
	check(name string) error
	// open opens a file for reading, with the same refusals.
	open(name string) (diskFile, error)
	// create makes a file that does not exist yet, for this user alone.
	create(name string) (diskFile, error)
	rename(from, to string) error
	remove(name string) error
	names() ([]string, error)
	// sync makes renames and removals durable.
	sync() error
	// lock takes the lock of a file, and makes the file if it does not exist. The
	// lock also ends with the process. If another store has it, in this process or
	// in another, the error is errLocked.
	lock(name string) (io.Closer, error)
	close() error
}

// diskFile is an open file.
type diskFile interface {
	io.ReadWriteCloser
	Sync() error
}

// errLocked says that another store uses the file.
var errLocked = errors.New("another process uses the file: give each Caddy a file of its own")

// errLink is the error of a name that is a symbolic link.
func errLink(path string) error {
	return fmt.Errorf("%s is a symbolic link: want the name of the file itself", path)
}

func errIrregular(path string) error { return fmt.Errorf("%s is not a regular file", path) }
