package filesource

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

const (
	hashSHA256 = "sha256"
	// defaultRevalidate is how long a file is believed to be unchanged.
	defaultRevalidate = 2 * time.Second
	// maxChecks bounds of how many files something is remembered, about 400
	// bytes each.
	maxChecks = 64 << 10
	// maxPlaces bounds what is remembered of request paths, in bytes.
	maxPlaces     = 16 << 20
	placeOverhead = 250
)

// Source takes the metadata of files from a file system. The identity is a
// request path, and the key holds the full name of the file that file_server
// would serve for it, which is an index file where the path is that of a
// directory: with the same root, the same file system and the same hide
// patterns it never says more about a path than file_server would. What
// file_server would not simply serve (hidden files, directories without index
// files, files that cannot be read) is left to the next handler.
//
// The record of a file has its name, size, modified (RFC 3339) and etag, which
// is the one file_server would send, and in encodings the content codings of
// the precompressed files that lie beside it, which have records of their own.
// With hash it has the sha256 of the content once that is known, and the etag
// is made of that; before, it has none.
type Source struct {
	// The directory of the files: give what file_server has. Default: the
	// site's, {http.vars.root}. A request for which it is not known goes on,
	// and no file of the working directory is looked at.
	Root string `json:"root,omitempty"`

	// The name of the file system. Default: {http.vars.fs}, else the
	// server's disk.
	FS string `json:"fs,omitempty"`

	// The files to say nothing about: give what file_server has. Caddyfiles
	// are hidden by themselves where this comes from one.
	Hide []string `json:"hide,omitempty"`

	// The names of index files of directories, in the order they are tried.
	// Default: those of the file_server behind the lookup, else index.html and
	// index.txt.
	Index []string `json:"index,omitempty"`

	// With "sha256", each content has one strong entity tag on every node,
	// whatever the dates of its copies. Each change of a file is hashed once
	// for all nodes that have the same file, in the background. A change is
	// seen by size, date, inode and the time of the last change of the inode;
	// on systems and in file systems without inodes by size and date alone.
	Hash string `json:"hash,omitempty"`

	// The largest file that is hashed, in bytes. Default: any.
	MaxHashSize int64 `json:"max_hash_size,omitempty"`

	// How long a file is taken for unchanged after a check: each node checks
	// it at most once in that time. Default 2s.
	Revalidate caddy.Duration `json:"revalidate,omitempty"`

	logger     *zap.Logger
	rootAbsent *sync.Once // says so in the log

	fsmap    caddy.FileSystems
	onDisk   func() bool // the default file system is the server's disk
	hidden   hideList
	sidecars []sidecar
	fleet    fleet   // nil without hash
	hasher   *hasher // nil without hash
	root, fs template.Template
	places   *otter.Cache[string, *place]     // by request path
	checks   *otter.Cache[string, *lastCheck] // by the key of the record
	contents *contents                        // nil where none are kept
}

// fleet is what a source needs of the app to share what it has found out.
type fleet interface {
	Cache() *cache.Cache
	KeyPrefix() string
}

// CaddyModule returns the Caddy module information.
func (Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "filewallball.sources.file_system",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision resolves defaults.
func (s *Source) Provision(ctx caddy.Context) error {
	if s.Root == "" {
		s.Root = "{http.vars.root}"
	}
	if s.FS == "" {
		s.FS = "{http.vars.fs}"
	}
	if s.Revalidate == 0 {
		s.Revalidate = caddy.Duration(defaultRevalidate)
	}
	s.logger, s.rootAbsent = ctx.Logger(), new(sync.Once)
	s.fsmap = ctx.FileSystems()
	s.onDisk = sync.OnceValue(s.defaultIsDisk)
	s.hidden = newHideList(s.Hide)
	s.sidecars = knownSidecars()
	s.root, s.fs = template.New(s.Root), template.New(s.FS)
	var err error
	s.places, err = otter.New(&otter.Options[string, *place]{
		MaximumWeight: maxPlaces,
		Weigher: func(path string, at *place) uint32 {
			return uint32(len(path) + len(at.name) + len(at.keyID) + placeOverhead)
		},
	})
	if err != nil {
		return err
	}
	if s.checks, err = otter.New(&otter.Options[string, *lastCheck]{MaximumSize: maxChecks}); err != nil {
		return err
	}
	if s.Hash != "" {
		app, err := ctx.App("filewallball")
		if err != nil {
			return fmt.Errorf("getting the app for shared hashes: %w", err)
		}
		var ok bool
		if s.fleet, ok = app.(fleet); !ok {
			return errors.New("the filewallball app is of an unexpected type: it has no cache for shared hashes")
		}
		s.hasher = newHasher(ctx, s)
	}
	return nil
}

// Cleanup ends the hashing.
func (s *Source) Cleanup() error {
	if s.hasher != nil {
		s.hasher.close()
	}
	return nil
}

// Fingerprint is a text of all settings that change what the source answers
// for a key. The key has the full name of the file, so root, fs, hide and index,
// which decide which file a path leads to, are not among them.
func (s *Source) Fingerprint() string {
	return fmt.Sprintf("file_system hash=%s max_hash_size=%d", s.Hash, s.MaxHashSize)
}

// Validate checks what Provision only reads.
func (s *Source) Validate() error {
	if s.Hash != "" && s.Hash != hashSHA256 {
		return fmt.Errorf("hash is '%s': want %s", s.Hash, hashSHA256)
	}
	if s.MaxHashSize < 0 || s.MaxHashSize > 0 && s.Hash == "" {
		return errors.New("max_hash_size is for the files that hash reads: want a size, and hash")
	}
	for _, name := range s.Index {
		if name == "" || strings.ContainsAny(name, "{}") {
			return fmt.Errorf("index file '%s' cannot be: want a name without placeholders", name)
		}
	}
	if s.Revalidate < 0 {
		return errors.New("revalidate cannot be negative")
	}
	return nil
}

// Name implements [cache.Source].
func (*Source) Name() string { return "file_system" }

// Interface guards
var (
	_ caddy.Module          = (*Source)(nil)
	_ caddy.Provisioner     = (*Source)(nil)
	_ caddy.Validator       = (*Source)(nil)
	_ caddy.CleanerUpper    = (*Source)(nil)
	_ caddyfile.Unmarshaler = (*Source)(nil)
	_ cache.Source          = (*Source)(nil)
	_ cache.Revalidator     = (*Source)(nil)
	_ source.Lister         = (*Source)(nil)
)
