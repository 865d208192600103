package filesource

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyfs"
	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

const (
	hashSHA256 = "sha256"
	// defaultRevalidate is the default of revalidate.
	defaultRevalidate = 2 * time.Second
	// maxChecks bounds the number of files whose last check is remembered, at
	// about 400 bytes each.
	maxChecks = 64 << 10
	// maxPlaces bounds the memory for request paths, in bytes.
	maxPlaces     = 16 << 20
	placeOverhead = 250
)

// Source reads the metadata of files. The identity is a request path. The key
// contains the full name of the file that file_server would serve for it, which
// is an index file if the path is that of a directory. With the same root, file
// system and hide patterns, it never reveals more about a path than file_server
// would. Whatever file_server would not serve as a file (hidden files,
// directories without index files, unreadable files) is left to the next
// handler.
//
// The record of a file has the fields name, size (bytes), modified (RFC 3339)
// and etag, which is the one that file_server would send. encodings lists the
// content codings of precompressed files beside it, which have records of their
// own. With hash, the record has the sha256 of the content, and an etag made
// from it, once the hash is known; before that it has no etag.
type Source struct {
	// The directory of the files; set it to file_server's root. Default: the
	// site's root, {http.vars.root}. A request without a root continues without
	// metadata: the working directory is not searched.
	Root string `json:"root,omitempty"`

	// The name of the file system; set it to file_server's fs. Default:
	// {http.vars.fs}, or the server's disk.
	FS string `json:"fs,omitempty"`

	// Patterns of files that have no metadata; set them to file_server's hide.
	// A Caddyfile hides itself and its imports. Default: none.
	Hide []string `json:"hide,omitempty"`

	// The names of index files, in the order in which they are tried. Default:
	// those of the file_server behind the lookup, or index.html and index.txt.
	Index []string `json:"index,omitempty"`

	// "sha256" gives each content one strong entity tag on all nodes, whatever
	// the dates of its copies. Each change of a file is hashed in the
	// background, once for all nodes with the same file. A change is detected
	// by size, date, inode and the inode's change time; on systems and file
	// systems without inodes by size and date alone. Default: no hash.
	Hash string `json:"hash,omitempty"`

	// The largest file that is hashed, in bytes. Default: no limit.
	MaxHashSize int64 `json:"max_hash_size,omitempty"`

	// How long a file counts as unchanged after a check, as a duration: each
	// node checks it at most once in this time. Default: 2s.
	Revalidate caddy.Duration `json:"revalidate,omitempty"`

	logger     *zap.Logger
	rootAbsent *sync.Once // for a single log line

	fsmap    caddy.FileSystems
	onDisk   func() bool // the default file system is the server's disk
	hidden   hideList
	hiddenBy []hideList // by each file_server behind the lookup
	// noListing reports that no file_server behind the lookup lists directories.
	noListing bool
	sidecars  []sidecar
	fleet     fleet   // nil without hash
	hasher    *hasher // nil without hash
	root, fs  template.Template
	roots     *roots
	places    *otter.Cache[string, *place]     // by request path
	checks    *otter.Cache[string, *lastCheck] // by the key of the record
	contents  *contents                        // nil where none are kept
	listings  *listings
}

// fleet is the part of the app that the source uses to share hashes.
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

// checkFilled refuses a setting that is empty because a variable is not set: the files
// would be those of another directory, or nothing would be hidden.
func (s *Source) checkFilled() error {
	options := map[string][]string{"root": {s.Root}, "fs": {s.FS}, "hide": s.Hide}
	for _, name := range []string{"root", "fs", "hide"} {
		for _, text := range options[name] {
			err := template.CheckDollar(text)
			if _, single := template.Placeholders(text); err == nil && single == nil {
				err = template.CheckFilled(text)
			} // otherwise there is a single brace in a name
			if err != nil {
				return fmt.Errorf("%s '%s': %w", name, text, err)
			}
		}
	}
	return nil
}

// checkFS refuses the name of a file system that does not exist. One with a placeholder of
// the request is known at the request only.
func (s *Source) checkFS(ctx caddy.Context) error {
	split, err := template.NewSplit(s.FS)
	if err != nil || len(split.Names) > 0 {
		return nil //nolint:nilerr // a single brace in a name, which file_server takes as it is
	}
	var names []string
	switch app, err := ctx.AppIfConfigured("caddy.filesystems"); {
	case errors.Is(err, caddy.ErrNotConfigured):
	case err != nil:
		return err
	default:
		if defined, ok := app.(*caddyfs.Filesystems); ok {
			for _, entry := range defined.Filesystems {
				names = append(names, entry.Key)
			}
		}
	}
	name := split.With(nil)
	if _, ok := s.fsmap.Get(name); ok {
		return nil
	}
	if len(names) == 0 {
		return fmt.Errorf("fs '%s': no filesystem option defines it: define it, like filesystem %[1]s <module>, or leave fs out for the server's disk", name)
	}
	return fmt.Errorf("fs '%s': no filesystem option defines it: want %s, or no fs for the server's disk", name, strings.Join(names, ", "))
}

// Provision resolves defaults.
func (s *Source) Provision(ctx caddy.Context) error {
	if s.Root == "" {
		s.Root = siteRoot
	}
	if s.FS == "" {
		s.FS = "{http.vars.fs}"
	}
	if s.Revalidate == 0 {
		s.Revalidate = caddy.Duration(defaultRevalidate)
	}
	if err := s.checkFilled(); err != nil {
		return err
	}
	s.logger, s.rootAbsent = ctx.Logger(), new(sync.Once)
	s.fsmap = ctx.FileSystems()
	if err := s.checkFS(ctx); err != nil {
		return err
	}
	s.onDisk = sync.OnceValue(s.defaultIsDisk)
	s.hidden = newHideList(s.Hide)
	s.sidecars = knownSidecars()
	s.root, s.fs = template.New(s.Root), template.New(s.FS)
	s.roots = newRoots(ctx, s.Root)
	var err error
	if s.listings, err = newListings(s.sidecars); err != nil {
		return err
	}
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
		pace := defaultPace()
		if shared, ok := app.(interface{ HashPace() *Pace }); ok {
			pace = shared.HashPace()
		}
		s.hasher = newHasher(ctx, s, pace)
	}
	return nil
}

// Cleanup stops the hashing.
func (s *Source) Cleanup() error {
	if s.hasher != nil {
		s.hasher.close()
	}
	return nil
}

// Fingerprint contains all settings that change what the source answers for a
// key. root, fs, hide and index are not among them: they decide which file a
// path leads to, and the key contains the full name of the file.
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
			return fmt.Errorf("index file '%s' is not right: want a name without placeholders", name)
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
