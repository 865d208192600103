// The directories of the files: file_server answers 404 to each request where the root is
// missing, and so do the records, so that only a check of the root itself shows it.

package filesource

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/source"
)

// siteRoot is the placeholder of the site's root.
const siteRoot = "{http.vars.root}"

// roots are the directories of a source's files. Only directories that the configuration
// names are checked: of a root with placeholders of the request, such as /srv/{host}, that
// is the part before them, because clients choose the rest.
type roots struct {
	possible func() *possibleRoots

	mu   sync.Mutex
	used map[rootDir]struct{} // bounded by the directories and file systems of the configuration
}

// rootDir is a directory in a file system, "" for the server's own.
type rootDir struct{ scope, dir string }

// possibleRoots are the roots that requests may have.
type possibleRoots struct {
	whole map[string]bool // without placeholders
	above []string        // the directories above those with placeholders
}

func newRoots(ctx caddy.Context, own string) *roots {
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return &roots{
		used: make(map[rootDir]struct{}),
		// the routes are complete before the first request
		possible: sync.OnceValue(func() *possibleRoots { return possibleRootsOf(own, server) }),
	}
}

// possibleRootsOf combines the root of a source with those of the routes of its server.
func possibleRootsOf(own string, server *caddyhttp.Server) *possibleRoots {
	p := &possibleRoots{whole: make(map[string]bool)}
	if !strings.Contains(own, siteRoot) {
		p.add(own)
		return p
	}
	for root := range rootsOn(server) {
		p.add(strings.ReplaceAll(own, siteRoot, root))
	}
	return p
}

func (p *possibleRoots) add(root string) {
	root = caddy.NewReplacer().ReplaceKnown(root, "")
	before, _, dynamic := strings.Cut(root, "{")
	if !dynamic {
		p.whole[root] = true
		return
	}
	if end := strings.LastIndexByte(before, '/'); end > 0 {
		p.above = append(p.above, before[:end])
	}
}

// dirOf is the directory to check for the root of a request. ok is false if the
// configuration does not name it.
func (p *possibleRoots) dirOf(root string) (dir string, ok bool) {
	if p.whole[root] {
		return root, true
	}
	for _, above := range p.above {
		if strings.HasPrefix(root, above+"/") && len(above) > len(dir) {
			dir, ok = above, true
		}
	}
	return dir, ok
}

// has reports whether a directory is one to check.
func (p *possibleRoots) has(dir string) bool { return p.whole[dir] || slices.Contains(p.above, dir) }

// note notes that a request has led to a root.
func (r *roots) note(scope, root string) {
	dir, ok := r.possible().dirOf(root)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used[rootDir{scope, dir}] = struct{}{}
}

// rootsOn are the values that the routes of a server give to the variable root.
func rootsOn(server *caddyhttp.Server) map[string]bool {
	found := make(map[string]bool)
	if server == nil {
		return found
	}
	var search func(caddyhttp.RouteList)
	search = func(routes caddyhttp.RouteList) {
		for _, route := range routes {
			for _, handler := range route.Handlers {
				switch handler := handler.(type) {
				case *caddyhttp.VarsMiddleware:
					if root, ok := (*handler)["root"].(string); ok {
						found[root] = true
					}
				case *caddyhttp.Subroute:
					search(handler.Routes)
					if handler.Errors != nil {
						search(handler.Errors.Routes)
					}
				}
			}
		}
	}
	search(server.Routes)
	if server.Errors != nil {
		search(server.Errors.Routes)
	}
	for _, route := range server.NamedRoutes {
		search(caddyhttp.RouteList{*route})
	}
	return found
}

// Roots implements [source.Rooted].
func (s *Source) Roots() (all []source.Root) {
	s.roots.mu.Lock()
	defer s.roots.mu.Unlock()
	for at := range s.roots.used {
		all = append(all, s.rootAt(at))
	}
	return all
}

// RootNamed implements [source.Rooted].
func (s *Source) RootNamed(name string) (root source.Root, ok bool) {
	at := rootDir{"", name}
	if s.roots.possible().has(name) {
		return s.rootAt(at), true
	}
	if at.scope, at.dir, ok = strings.Cut(name, ":"); ok && s.known(at.scope) && s.roots.possible().has(at.dir) {
		return s.rootAt(at), true
	}
	return source.Root{}, false
}

func (s *Source) rootAt(at rootDir) source.Root {
	name := at.dir
	if at.scope != "" {
		name = at.scope + ":" + name
	}
	return source.Root{Name: name, Check: func() error { return s.checkRoot(at) }}
}

// checkRoot returns an error if there are no files below a directory that can be read.
func (s *Source) checkRoot(at rootDir) error {
	fsys, ok := s.fsmap.Get(at.scope)
	if !ok {
		return errors.New("there is no such file system")
	}
	onDisk := at.scope == "" && s.onDisk()
	info, err := s.statter(fsys, at.scope)(at.dir)
	switch {
	case err == nil && !info.IsDir():
		return errors.New("is not a directory")
	case isAbsent(err):
		if !onDisk && !hasDirectories(fsys) {
			return nil // it may have files although it has no directories
		}
		return errors.New("does not exist")
	case errors.Is(err, fs.ErrInvalid):
		return nil // a file system with other names
	case err != nil:
		return cannotRead(err)
	case !onDisk:
		return nil
	}
	// needs the right to use names below the directory, which Clean would remove
	if _, err := os.Stat(at.dir + string(filepath.Separator) + "."); err != nil {
		return cannotRead(err)
	}
	dir, err := os.Open(at.dir)
	if err != nil {
		return unreadableDir(err)
	}
	defer dir.Close()
	switch _, err := dir.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return errors.New("is empty: is its file system mounted?")
	case err != nil:
		return cannotRead(err)
	}
	return nil
}

// unreadableDir is the error of a directory that cannot be listed. Files of known names
// can be served from it.
func unreadableDir(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return cannotRead(err)
}

func cannotRead(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return fmt.Errorf("cannot be read: %s", errno.Error())
	}
	return fmt.Errorf("cannot be read: %w", withoutName(err))
}

// hasDirectories reports whether a file system has directories, as some that only store
// objects have not.
func hasDirectories(fsys fs.FS) bool {
	for _, top := range []string{".", "/"} {
		if info, err := fs.Stat(fsys, top); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// Interface guards
var _ source.Rooted = (*Source)(nil)
