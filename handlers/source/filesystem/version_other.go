//go:build !unix

package filesource

import "io/fs"

// fileVersion is not known here.
type fileVersion struct{}

func versionOf(fs.FileInfo) fileVersion { return fileVersion{} }
