// The file that a request path leads to in file_server.

package filesource

import (
	"net/http"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// place is the result of a request path in a root and a file system.
type place struct {
	root, scope string
	name, keyID string
	ok          bool
	// checked is when the index file of a directory was searched for, in nanoseconds of
	// Unix time; 0 for the path of a file.
	checked int64
}

// Locate finds the file that file_server would serve for a path. ok is false if
// file_server would serve none, or hides it.
func (s *Source) Locate(r *http.Request, repl *caddy.Replacer, id string) (keyID string, req cache.Request, ok bool) {
	if s.hasher != nil && r != nil {
		s.hasher.worker.pace.request()
	}
	// file_server redirects if a rewrite has only added or removed the slash at
	// the end
	if original := template.OriginalPath(r, repl); original != "" && path.Base(original) == path.Base(id) &&
		strings.HasSuffix(original, "/") != strings.HasSuffix(id, "/") {
		return "", req, false
	}
	if runtime.GOOS == "windows" && (strings.Contains(id, ":") || caddyhttp.HasWindowsShortName(id)) {
		return "", req, false // alternative names of files, which hide does not cover
	}
	root, ok := s.resolveRoot(r, repl)
	if !ok {
		return "", req, false
	}
	fsName := s.scope(r, repl)
	at, known := s.places.GetIfPresent(id)
	if !known || at.root != root || at.scope != fsName || at.checked != 0 && s.due(at.checked, time.Now()) {
		at = s.locate(repl, root, fsName, id)
		if !s.hidden.varies {
			s.places.Set(id, at)
		}
	}
	return at.keyID, cache.Request{ID: at.name, Scope: fsName}, at.ok
}

// locate finds the place of a path. It takes about half of the time of a hit,
// so places are remembered.
func (s *Source) locate(repl *caddy.Replacer, root, fsName, id string) *place {
	at := &place{root: root, scope: fsName, name: caddyhttp.SanitizedPathJoin(root, id)}
	s.roots.note(fsName, root)
	if strings.HasSuffix(id, "/") {
		at.checked = time.Now().UnixNano()
		at.name, at.ok = s.indexFile(repl, fsName, strings.TrimSuffix(at.name, "/"))
		if !at.ok {
			return at
		}
	} else if at.name = strings.TrimSuffix(at.name, "/"); s.hidden.hides(repl, at.name) {
		return at
	}
	at.keyID = fullName(fsName, at.name)
	if isNoIndex(at.name) {
		at.keyID = strings.TrimSuffix(at.keyID, "/") + "/"
	}
	// the root and the file system may contain client input as well
	at.ok = cache.CheckIdentity(at.keyID) == nil
	return at
}

// Forget drops what is known of the place of a path, so that the next request
// looks for the index file of a directory again.
func (s *Source) Forget(id string) { s.places.Invalidate(id) }

// indexFile returns the file that file_server serves for a directory. If file_server
// answers 404, it returns the directory with a slash at the end. ok is false if the
// directory is left to file_server.
func (s *Source) indexFile(repl *caddy.Replacer, scope, dir string) (name string, ok bool) {
	fsys, known := s.fsmap.Get(scope)
	if !known || len(s.Index) == 0 {
		return "", false
	}
	stat := s.statter(fsys, scope)
	info, err := stat(dir)
	if err != nil {
		return s.noIndex(repl, dir, isAbsent(err))
	}
	if !info.IsDir() {
		return "", false
	}
	for _, index := range s.Index {
		name := caddyhttp.SanitizedPathJoin(dir, index)
		switch s.hiding(repl, name) {
		case hiddenByAll:
			continue
		case hiddenBySome:
			return "", false
		}
		if info, err := stat(name); err == nil {
			return name, info.Mode().IsRegular()
		}
	}
	return s.noIndex(repl, dir, true)
}

// noIndex returns the name for a directory for which file_server answers 404. The record
// of such a name is always an absence.
func (s *Source) noIndex(repl *caddy.Replacer, dir string, absent bool) (name string, ok bool) {
	if !absent || !s.noListing || s.hidden.hides(repl, dir) {
		return "", false
	}
	return dir + "/", true
}

// isNoIndex reports whether a name is one that noIndex returns.
func isNoIndex(name string) bool { return strings.HasSuffix(name, "/") }

// IsIndex reports whether a request is for the index file of the directory with the path
// id.
func IsIndex(id string, req cache.Request) bool {
	return strings.HasSuffix(id, "/") && !isNoIndex(req.ID)
}

// noValue replaces placeholders of the root that have no value.
const noValue = "\x00"

// resolveRoot is the directory of the files for a request. ok is false if it is
// unknown. file_server would then serve the working directory, which is not
// configured.
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

// fullName is the unique name of a file on this node.
func fullName(scope, name string) string {
	if scope != "" {
		return scope + ":" + name
	}
	if abs, err := caddy.FastAbs(name); err == nil {
		return abs
	}
	return name
}
