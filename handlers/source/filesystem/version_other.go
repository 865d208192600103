//go:build !unix

package filesource

import (
	"io/fs"
	"time"
)

// fileVersion is not available on this system.
type fileVersion struct{}

func versionOf(fs.FileInfo) fileVersion { return fileVersion{} }

func (fileVersion) changed() time.Time { return time.Time{} }
func (fileVersion) inKey() string      { return "" }
