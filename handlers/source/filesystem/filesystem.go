package filesource

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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
	// hashTimeout is the longest that hashing one file may take.
	hashTimeout = time.Minute
	// maxSightings bounds what is remembered of files, about 300 bytes each.
	maxSightings = 64 << 10
	// maxPlaces bounds what is remembered of request paths, in bytes.
	maxPlaces     = 16 << 20
	placeOverhead = 250
)

// Source takes the metadata of files from a file system. The identity is
// a request path, and the key holds the full name of the file that
// file_server would serve for it: with the same root, the same file system
// and the same hide patterns it never says more about a path than
// file_server would. What file_server would not simply serve (hidden files,
// directories, files that cannot be read) is left to the next handler.
//
// The record of a file has its name, size, modified (RFC 3339) and etag,
// which is the one file_server would send, and in encodings the precompressed
// files that lie beside it. With hash it has the sha256 of the content, and
// the etag is made of that.
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

	// With "sha256", each content has one strong entity tag on every node,
	// whatever the dates of its copies. A file is read once per size and date
	// for the whole fleet, in at most a minute.
	Hash string `json:"hash,omitempty"`

	// How long a file is taken for unchanged after a look at it: each node
	// looks at most once in that time. Default 2s.
	Revalidate caddy.Duration `json:"revalidate,omitempty"`

	logger     *zap.Logger
	rootAbsent *sync.Once // says so in the log

	fsmap     caddy.FileSystems
	onDisk    func() bool // the default file system is the server's disk
	hidden    hideList
	sidecars  []sidecar
	fleet     fleet // nil without hash
	root, fs  template.Template
	places    *otter.Cache[string, *place] // by request path
	sightings *otter.Cache[string, *sighting]
	contents  *contents // nil where none are kept
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
	if s.Hash != "" {
		app, err := ctx.App("filewallball")
		if err != nil {
			return fmt.Errorf("getting the app for shared hashes: %w", err)
		}
		s.fleet = app.(fleet)
	}
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
	s.sightings, err = otter.New(&otter.Options[string, *sighting]{MaximumSize: maxSightings})
	return err
}

// Validate checks what Provision only reads.
func (s *Source) Validate() error {
	if s.Hash != "" && s.Hash != hashSHA256 {
		return fmt.Errorf("hash is '%s': want %s", s.Hash, hashSHA256)
	}
	if s.Revalidate < 0 {
		return errors.New("revalidate cannot be negative")
	}
	return nil
}

// Name implements [cache.Source].
func (*Source) Name() string { return "file_system" }

// LoadTimeout is the longest a load may take.
func (s *Source) LoadTimeout() time.Duration {
	if s.Hash != "" {
		return hashTimeout
	}
	return cache.DefaultLoadTimeout
}

// Locate finds the file that file_server would look for at a path. ok is
// false where it would not look for one, or hides it.
func (s *Source) Locate(r *http.Request, repl *caddy.Replacer, id string) (keyID string, req cache.Request, ok bool) {
	if strings.HasSuffix(id, "/") {
		return "", req, false // a directory, or a redirect to the file
	}
	// nor is a file served where a rewrite has only cut off the slash
	if original := template.OriginalPath(r, repl); strings.HasSuffix(original, "/") && path.Base(original) == path.Base(id) {
		return "", req, false
	}
	if runtime.GOOS == "windows" && (strings.Contains(id, ":") || caddyhttp.HasWindowsShortName(id)) {
		return "", req, false // other names of files, which hide does not know
	}
	root, ok := s.resolveRoot(r, repl)
	if !ok {
		return "", req, false
	}
	fsName := s.scope(r, repl)
	at, known := s.places.GetIfPresent(id)
	if !known || at.root != root || at.scope != fsName {
		at = s.locate(repl, root, fsName, id)
		if !s.hidden.varies {
			s.places.Set(id, at)
		}
	}
	return at.keyID, cache.Request{ID: at.name, Scope: fsName}, at.ok
}

// place is where a path leads in a root and a file system.
type place struct {
	root, scope string
	name, keyID string
	ok          bool
}

// locate finds a path's place, which takes as long as the rest of a hit does.
func (s *Source) locate(repl *caddy.Replacer, root, fsName, id string) *place {
	at := &place{root: root, scope: fsName, name: caddyhttp.SanitizedPathJoin(root, id)}
	if s.hidden.hides(repl, at.name) {
		return at
	}
	at.keyID = fullName(fsName, at.name)
	// the root and the file system may be client input too
	at.ok = cache.CheckIdentity(at.keyID) == nil
	return at
}

// noValue stands for placeholders of the root that have no value.
const noValue = "\x00"

// resolveRoot is the directory of the files for a request. ok is false where
// it is not known: file_server would serve the working directory then, which
// nobody has chosen.
func (s *Source) resolveRoot(r *http.Request, repl *caddy.Replacer) (root string, ok bool) {
	root = s.root.Expand(r, repl, noValue)
	if strings.Contains(root, noValue) {
		s.rootAbsent.Do(func() {
			s.logger.Warn("the root of the files is not known, requests go on without metadata: "+
				"set root for the site, or in source file_system as file_server has it", zap.String("root", s.Root))
		})
		return "", false
	}
	return root, true
}

// scope is the name of the file system, "" for the server's own.
func (s *Source) scope(r *http.Request, repl *caddy.Replacer) string {
	name := s.fs.Expand(r, repl, "")
	if name == "default" {
		return ""
	}
	return name
}

// fullName is the name of a file that no other file of this node has.
func fullName(scope, name string) string {
	if scope != "" {
		return scope + ":" + name
	}
	if abs, err := caddy.FastAbs(name); err == nil {
		return abs
	}
	return name
}

// Interface guards
var (
	_ caddy.Module          = (*Source)(nil)
	_ caddy.Provisioner     = (*Source)(nil)
	_ caddy.Validator       = (*Source)(nil)
	_ caddyfile.Unmarshaler = (*Source)(nil)
	_ cache.Source          = (*Source)(nil)
	_ cache.Revalidator     = (*Source)(nil)
	_ source.Lister         = (*Source)(nil)

	_ interface{ LoadTimeout() time.Duration } = (*Source)(nil)
)
