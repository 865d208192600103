// Names of precompressed files that were seen while directories were listed, so that
// the loads of the listed files need not look for three more files each.

package filesource

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// maxListed is the most names of one directory that are kept. The precompressed
	// files of a larger directory are looked for one by one.
	maxListed = 10_000
	// maxListings bounds the memory for all directories, in bytes.
	maxListings     = 8 << 20
	listingOverhead = 200
)

// listing is what was seen of one directory.
type listing struct {
	began time.Time
	// precompressed are the names of the files that may be precompressed, in lower
	// case: on some file systems names differ by more than case.
	precompressed map[string]bool
}

// listings are what was seen of directories of the server's disk lately, by their names.
type listings struct {
	suffixes []string // of precompressed files
	seen     *otter.Cache[string, *listing]
}

func newListings(sidecars []sidecar) (*listings, error) {
	l := new(listings)
	for _, sidecar := range sidecars {
		l.suffixes = append(l.suffixes, strings.ToLower(sidecar.suffix))
	}
	var err error
	l.seen, err = otter.New(&otter.Options[string, *listing]{
		MaximumWeight: maxListings,
		Weigher: func(dir string, seen *listing) uint32 {
			weight := len(dir) + listingOverhead
			for name := range seen.precompressed {
				weight += 2*len(name) + listingOverhead/4
			}
			return uint32(weight)
		},
	})
	return l, err
}

// see reads the names in a directory and goes back to its beginning. It ignores errors,
// which the caller will meet.
func (l *listings) see(dir string, file fs.File) {
	names, ok := file.(*os.File)
	if !ok {
		return
	}
	seen := &listing{began: time.Now(), precompressed: make(map[string]bool)}
	var err error
	for err == nil && len(seen.precompressed) <= maxListed {
		var some []string
		some, err = names.Readdirnames(dirEntries)
		for _, name := range some {
			if name = strings.ToLower(name); l.maybePrecompressed(name) {
				seen.precompressed[name] = true
			}
		}
	}
	if _, back := names.Seek(0, io.SeekStart); back == nil && errors.Is(err, io.EOF) {
		l.seen.Set(filepath.Clean(dir), seen)
	}
}

func (l *listings) maybePrecompressed(name string) bool {
	for _, suffix := range l.suffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// of returns what was seen of the directory of a file since a time; nil where that is
// not known.
func (l *listings) of(req cache.Request, since time.Time) *listing {
	if req.Scope != "" {
		return nil
	}
	seen, ok := l.seen.GetIfPresent(filepath.Dir(req.ID))
	if !ok || seen.began.Before(since) {
		return nil
	}
	return seen
}

// has reports whether there may be a file. It is true for any file where nothing was
// seen.
func (l *listing) has(name string) bool {
	return l == nil || l.precompressed[strings.ToLower(filepath.Base(name))]
}
