// Settings that the source takes over from the file_servers behind its lookup.

package filesource

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// defaultIndex are the default index files of file_server.
var defaultIndex = []string{"index.html", "index.txt"}

// Server are the settings of a file_server behind the lookup that decide which
// file it serves for a path.
type Server struct {
	// Hide are its patterns of hidden files.
	Hide []string
	// Index are its index files; nil stands for the default.
	Index []string
	// Browse reports whether it lists directories without an index file.
	Browse bool
}

// Follow takes over the settings of all file_servers behind the lookup. Where
// they do not agree on which file they serve for a directory, directories are
// left to them. It must be called before the first request.
func (s *Source) Follow(servers ...Server) {
	s.hiddenBy, s.noListing = nil, len(servers) > 0
	for _, server := range servers {
		for _, pattern := range server.Hide {
			if !slices.Contains(s.Hide, pattern) {
				s.Hide = append(s.Hide, pattern)
			}
		}
		s.hiddenBy = append(s.hiddenBy, newHideList(server.Hide))
		s.noListing = s.noListing && !server.Browse
	}
	s.hidden = newHideList(s.Hide)
	s.Index = s.commonIndex(servers)
}

// commonIndex returns the index files that the source and all servers have. It is nil if
// they differ or if their names depend on the request.
func (s *Source) commonIndex(servers []Server) []string {
	common := s.Index
	for _, server := range servers {
		list := server.Index
		if list == nil {
			list = defaultIndex
		}
		if common == nil {
			common = list
		}
		if !slices.Equal(list, common) {
			return nil
		}
	}
	if common == nil {
		return defaultIndex
	}
	if slices.ContainsFunc(common, func(name string) bool { return strings.ContainsAny(name, "{}") }) {
		return nil
	}
	return common
}

// hiding is how many of the file_servers hide a file.
type hiding uint8

const (
	shown hiding = iota
	// hiddenBySome: not all file_servers behind the lookup are known to hide it.
	hiddenBySome
	// hiddenByAll: each of them hides it.
	hiddenByAll
)

// hiding reports how many of the file_servers hide a file. name is a path in the file
// system.
func (s *Source) hiding(repl *caddy.Replacer, name string) hiding {
	if !s.hidden.hides(repl, name) {
		return shown
	}
	for _, server := range s.hiddenBy {
		if !server.hides(repl, name) {
			return hiddenBySome
		}
	}
	return hiddenByAll
}

// HidesSidecar reports whether each file_server behind the lookup hides a precompressed
// file. name is the ID in the request for its record.
func (s *Source) HidesSidecar(repl *caddy.Replacer, name string) bool {
	return s.hiding(repl, name) == hiddenByAll
}
