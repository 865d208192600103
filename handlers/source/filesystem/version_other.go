//go:build !unix

package filesource

import (
	"io/fs"
	"time"
)

// fileVersion is not available on this system.
type fileVersion struct{}

// doNotWait is the flag for opening a file that need not be waited for: there is none.
const doNotWait = 0

func versionOf(fs.FileInfo) fileVersion { return fileVersion{} }

func (fileVersion) changed() time.Time { return time.Time{} }
func (fileVersion) inKey() string      { return "" }
