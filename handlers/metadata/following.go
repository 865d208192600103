// The handlers that follow file_metadata. It answers in place of the next file_server,
// so it must find out whether there is one and what it hides.

package metadata

import (
	"cmp"
	"encoding/json"
	"errors"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
)

// fileServer are the settings of a file_server that decide what it answers.
type fileServer struct {
	FileSystem         string               `json:"fs"`
	Root               string               `json:"root"`
	Hide               []string             `json:"hide"`
	IndexNames         []string             `json:"index_names"`
	StatusCode         caddyhttp.WeakString `json:"status_code"`
	PassThru           bool                 `json:"pass_thru"`
	EtagFileExtensions []string             `json:"etag_file_extensions"`
	Browse             json.RawMessage      `json:"browse"`

	Precompressed      map[string]json.RawMessage `json:"precompressed"`
	PrecompressedOrder []string                   `json:"precompressed_order"`
}

// browses reports whether the file_server lists directories.
func (s *fileServer) browses() bool { return len(s.Browse) > 0 && string(s.Browse) != "null" }

// following are the handlers that a request may reach after file_metadata.
type following struct {
	// known is false without a server, as in tests of one handler.
	known bool
	// servers are the file_servers that a request may reach, up to the first that
	// every request reaches.
	servers []fileServer
	// alone reports that every request reaches one of them, and no other handler
	// that answers.
	alone bool
	// others reports that another handler than a file_server may answer.
	others bool
	// inErrors reports that the handler is one of handle_errors.
	inErrors bool
}

// passThru reports whether one of the file_servers passes requests for missing files to
// another handler.
func (f *following) passThru() bool {
	return slices.ContainsFunc(f.servers, func(s fileServer) bool { return s.PassThru })
}

// transparent are the handlers that neither answer nor change which file is served or
// how. Not among them: headers, encode, intercept and templates, which change the
// response of file_server, and vars and map, which may set its root.
var transparent = []string{metadataDirective, "tracing", "log_append", "request_body", "push"}

// changing are handlers that do not answer either, but may change which file is served
// or how.
var changing = []string{"headers", "encode", "templates", "vars", "map", "rewrite"}

// step is a handler that a request may reach.
type step struct {
	raw json.RawMessage
	// sometimes reports that only some of the requests reach it.
	sometimes bool
}

// followingOf returns the handlers that follow the one that ctx provisions.
func followingOf(ctx caddy.Context) following {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return following{}
	}
	f := following{known: true, alone: true}
	ways := f.waysOn(ctx, server)
	for _, steps := range ways {
		f.alone = f.add(steps) && f.alone
		f.others = f.others || othersAnswer(steps)
	}
	f.alone = f.alone && len(ways) > 0
	return f
}

// add adds the file_servers among the steps, and reports whether nothing else
// can answer.
func (f *following) add(steps []step) (alone bool) {
	for _, next := range steps {
		var named struct{ Handler string }
		if json.Unmarshal(next.raw, &named) != nil {
			return false
		}
		switch {
		case slices.Contains(transparent, named.Handler):
		case named.Handler == "file_server":
			var server fileServer
			if json.Unmarshal(next.raw, &server) != nil {
				return false
			}
			f.servers = append(f.servers, server)
			if !next.sometimes {
				return true // with pass_thru as well: what follows serves no file
			}
		default:
			return false
		}
	}
	return false
}

// othersAnswer reports whether another handler than a file_server may answer.
func othersAnswer(steps []step) bool {
	for _, next := range steps {
		var named struct{ Handler string }
		switch {
		case json.Unmarshal(next.raw, &named) != nil:
			return true
		case named.Handler == "file_server":
			if !next.sometimes {
				return false
			}
		case !slices.Contains(transparent, named.Handler) && !slices.Contains(changing, named.Handler):
			return true
		}
	}
	return true
}

// waysOn lists the handlers that follow, innermost routes first, for each place where
// the handler may stand. A list ends at routes that cannot be read, such as those of
// another plugin's module.
func (f *following) waysOn(ctx caddy.Context, server *caddyhttp.Server) (ways [][]step) {
	var steps []step
	modules := ctx.Modules()
	for _, module := range slices.Backward(modules[:len(modules)-1]) {
		var after []step
		var ends, ok bool
		switch module := module.(type) {
		case *caddyhttp.Subroute:
			after, ends, ok = f.afterCurrentIn(module.Routes, module.Errors)
		case *caddyhttp.App:
			if after, _, ok = f.afterCurrentIn(server.Routes, server.Errors); !ok {
				return afterNamed(server, steps)
			}
			ends = true
		}
		steps = append(steps, after...)
		if ends || !ok {
			break
		}
	}
	return [][]step{steps}
}

// afterNamed lists the handlers that follow in named routes. Any named route that is not
// provisioned yet may be the current one. The handlers after its invocation cannot be
// read.
func afterNamed(server *caddyhttp.Server, steps []step) (ways [][]step) {
	for _, route := range server.NamedRoutes {
		if after, _, ok := afterCurrent(caddyhttp.RouteList{*route}); ok {
			ways = append(ways, append(slices.Clone(steps), after...))
		}
	}
	return ways
}

// afterCurrentIn is afterCurrent in routes, or else in those for their errors, which are
// provisioned later. A request never leaves the routes for errors.
func (f *following) afterCurrentIn(routes caddyhttp.RouteList, onErrors *caddyhttp.HTTPErrorConfig) (steps []step, ends, ok bool) {
	if steps, ends, ok = afterCurrent(routes); ok || onErrors == nil {
		return steps, ends, ok
	}
	steps, _, f.inErrors = afterCurrent(onErrors.Routes)
	return steps, true, f.inErrors
}

// afterCurrent lists the handlers after the one that is being provisioned:
// Caddy forgets the JSON of a route's handlers once it has made all of them, so
// the first route that has it is the current one. ends reports that a request
// never leaves the current route.
func afterCurrent(routes caddyhttp.RouteList) (steps []step, ends, ok bool) {
	at := slices.IndexFunc(routes, func(r caddyhttp.Route) bool { return len(r.HandlersRaw) > 0 })
	if at < 0 {
		return nil, false, false
	}
	current := routes[at]
	// Caddy does not show which of its handlers is the current one: assume the first
	// that may be
	first := slices.IndexFunc(current.HandlersRaw, func(raw json.RawMessage) bool {
		var named struct{ Handler string }
		return json.Unmarshal(raw, &named) == nil && (named.Handler == metadataDirective || named.Handler == "subroute")
	})
	if first < 0 {
		return nil, false, false
	}
	for _, raw := range current.HandlersRaw[first+1:] {
		steps = append(steps, stepsOf(raw, false)...)
	}
	if current.Terminal {
		return steps, true, true
	}
	for _, route := range routes[at+1:] {
		if route.Group != "" && route.Group == current.Group || disjoint(route.MatcherSets, current.MatcherSets) {
			continue
		}
		sometimes := len(route.MatcherSets) > 0 && !reflect.DeepEqual(route.MatcherSets, current.MatcherSets)
		for _, raw := range route.HandlersRaw {
			steps = append(steps, stepsOf(raw, sometimes)...)
		}
		if route.Terminal && !sometimes {
			return steps, true, true
		}
	}
	return steps, false, true
}

// stepsOf returns the handlers of a subroute, or else the handler itself.
func stepsOf(raw json.RawMessage, sometimes bool) (steps []step) {
	var sub struct {
		Handler string
		Routes  []struct {
			Group  string
			Match  json.RawMessage
			Handle []json.RawMessage
		}
	}
	if json.Unmarshal(raw, &sub) != nil || sub.Handler != "subroute" {
		return []step{{raw, sometimes}}
	}
	for _, route := range sub.Routes {
		for _, raw := range route.Handle {
			steps = append(steps, stepsOf(raw, sometimes || len(route.Match) > 0 || route.Group != "")...)
		}
	}
	return steps
}

// disjoint reports whether no request can match both of two lists of path patterns,
// judged by the beginnings of the patterns.
func disjoint(a, b caddyhttp.MatcherSets) bool {
	one, ok := pathPatterns(a)
	if !ok {
		return false
	}
	other, ok := pathPatterns(b)
	if !ok {
		return false
	}
	for _, p := range one {
		for _, q := range other {
			if strings.HasPrefix(p, q) || strings.HasPrefix(q, p) {
				return false
			}
		}
	}
	return true
}

// pathPatterns returns the beginnings of the paths that match.
func pathPatterns(sets caddyhttp.MatcherSets) (prefixes []string, ok bool) {
	for _, set := range sets {
		if len(set) != 1 {
			return nil, false
		}
		var patterns caddyhttp.MatchPath
		switch matcher := set[0].(type) {
		case *caddyhttp.MatchPath:
			patterns = *matcher
		case caddyhttp.MatchPath:
			patterns = matcher
		default:
			return nil, false
		}
		for _, pattern := range patterns {
			if i := strings.IndexAny(pattern, "*?[\\{%"); i >= 0 {
				pattern = pattern[:i]
			}
			prefixes = append(prefixes, strings.ToLower(pattern))
		}
	}
	return prefixes, len(prefixes) > 0
}

// follow takes over the hidden files and the index files of the file_servers that
// follow. It returns an error for settings with which HEAD and GET would differ.
func (m *Handler) follow(next following) error {
	var servers []filesource.Server
	for _, server := range next.servers {
		switch {
		case len(server.EtagFileExtensions) > 0:
			return errors.New("file_metadata stands before a file_server with etag_file_extensions, whose tags it does not " +
				"know: use one of them, or keep them apart by handle")
		case server.StatusCode != "" && m.answers && !next.inErrors:
			return errors.New("file_metadata stands before a file_server with status, which is not that of its answers to " +
				"HEAD: set answer off, or keep them apart by handle")
		}
		if cmp.Or(server.Root, "{http.vars.root}") != m.files.Root || cmp.Or(server.FileSystem, "{http.vars.fs}") != m.files.FS {
			m.elsewhere = append(m.elsewhere, server)
		}
		servers = append(servers, filesource.Server{Hide: server.Hide, Index: server.IndexNames, Browse: server.browses()})
	}
	m.files.Follow(servers...)
	if m.rewrite == nil && next.alone {
		m.precompressed = precompressionOf(next.servers)
	}
	return nil
}

// sameFiles reports whether the file_servers that the request may reach have the root
// and file system of the source.
func (m *Handler) sameFiles(repl *caddy.Replacer) bool {
	place := func(root, fs string) [2]string {
		return [2]string{
			path.Clean(repl.ReplaceAll(cmp.Or(root, "{http.vars.root}"), ".")),
			cmp.Or(repl.ReplaceAll(cmp.Or(fs, "{http.vars.fs}"), ""), "default"),
		}
	}
	want := place(m.files.Root, m.files.FS)
	for _, server := range m.elsewhere {
		if place(server.Root, server.FileSystem) != want {
			m.otherRoot.Do(func() {
				m.logger.Warn("file_server has another root or fs than source file_system, so requests go on without metadata: set the same root and fs")
			})
			return false
		}
	}
	return true
}
