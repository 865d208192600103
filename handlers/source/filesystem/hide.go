// Which files file_server hides, so that metadata never reveals them.

package filesource

import (
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

const separator = string(filepath.Separator)

// hideList has the patterns of hidden files. A pattern without a separator
// hides all files and directories of that name; others are paths, which hide
// everything below them as well.
type hideList struct {
	patterns []string
	varies   bool // patterns have placeholders
}

func newHideList(patterns []string) hideList {
	var l hideList
	for _, pattern := range patterns {
		if strings.Contains(pattern, "{") {
			l.varies = true
		} else {
			pattern = absolute(pattern)
		}
		l.patterns = append(l.patterns, pattern)
	}
	// Caddy's data directory may lie under the working directory and holds
	// private keys
	if dir := caddy.AppDataDir(); !filepath.IsAbs(dir) {
		if abs, err := caddy.FastAbs(dir); err == nil {
			l.patterns = append(l.patterns, abs)
		}
	}
	return l
}

// absolute resolves a path relative to the working directory.
func absolute(pattern string) string {
	if !strings.Contains(pattern, separator) {
		return pattern
	}
	abs, err := caddy.FastAbs(pattern)
	if err != nil {
		return pattern
	}
	return abs
}

// hides reports whether a file is hidden. name is a path in the file system.
func (l hideList) hides(repl *caddy.Replacer, name string) bool {
	if abs, err := caddy.FastAbs(name); err == nil {
		name = abs
	}
	for _, pattern := range l.patterns {
		if l.varies {
			pattern = absolute(repl.ReplaceAll(pattern, ""))
		}
		if hides(pattern, name) {
			return true
		}
	}
	return false
}

func hides(pattern, name string) bool {
	if matched, _ := filepath.Match(pattern, name); matched {
		return true
	}
	if strings.Contains(pattern, separator) {
		rest, ok := strings.CutPrefix(name, pattern)
		return ok && strings.HasPrefix(rest, separator)
	}
	for component := range strings.SplitSeq(name, separator) {
		if matched, _ := filepath.Match(pattern, component); matched {
			return true
		}
	}
	return false
}

// hideFiles adds configuration files to the patterns, each by its path.
func hideFiles(patterns, files []string) []string {
	for _, file := range files {
		file = filepath.Clean(file)
		if !strings.Contains(file, separator) {
			file = "." + separator + file
		}
		patterns = append(patterns, file)
	}
	return patterns
}
