// Listing all files that a site serves.

package filesource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

const (
	// dirEntries is how many entries of a directory are read at a time.
	dirEntries = 256
	// maxDepth bounds the depth of directories, including those behind links.
	maxDepth = 64
)

// CanList returns an error unless root, file system and hidden files are known
// without a request.
func (s *Source) CanList(repl *caddy.Replacer) error {
	for _, setting := range append([]string{s.Root, s.FS}, s.hidden.patterns...) {
		_, err := repl.ReplaceOrErr(setting, false, true)
		if err == nil {
			continue
		}
		if setting == siteRoot {
			return errors.New("the root is that of the site, which is not known without a request: give it as root (--root), or give the source one")
		}
		return fmt.Errorf("'%s' has placeholders of a request, so files cannot be listed without one: write it without them", setting)
	}
	if fsName := s.scope(nil, repl); !s.known(fsName) {
		return errors.New("there is no such file system: set fs as the site does")
	}
	return nil
}

func (s *Source) known(scope string) bool {
	_, ok := s.fsmap.Get(scope)
	return ok
}

// Quick reports whether a load only reads the metadata of a file and its precompressed
// files, and needs no hash.
func (s *Source) Quick() bool { return s.Hash == "" }

// List lists the request paths of all files under the root that are not hidden.
// It follows links, but not in loops. It reads directories in parts, so its
// memory grows with the depth, not with the number of files.
func (s *Source) List(ctx context.Context, repl *caddy.Replacer) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		scope := s.scope(nil, repl)
		fsys, ok := s.fsmap.Get(scope)
		if !ok {
			yield("", errors.New("listing files: there is no such file system"))
			return
		}
		root, ok := s.resolveRoot(nil, repl)
		if !ok {
			yield("", errors.New("listing files: their root is not known"))
			return
		}
		w := &walk{
			ctx: ctx, repl: repl, root: root, hidden: s.hidden,
			fsys: fsys, stat: s.statter(fsys, scope), yield: yield,
		}
		if scope == "" && s.onDisk() {
			w.see = s.listings.see
		}
		w.dir("", nil)
	}
}

// walk traverses a file system.
type walk struct {
	ctx    context.Context
	repl   *caddy.Replacer
	root   string
	hidden hideList
	fsys   fs.FS
	stat   func(string) (fs.FileInfo, error)
	yield  func(string, error) bool
	// see is called with each directory before its files are listed, unless it is nil.
	see func(name string, dir fs.File)
}

// dir lists a directory, unless it is also one of those above it. It returns
// false if the listing has ended.
func (w *walk) dir(path string, above []fs.FileInfo) bool {
	name := caddyhttp.SanitizedPathJoin(w.root, path)
	info, err := w.stat(name)
	if err != nil {
		return w.failed(err)
	}
	for _, dir := range above {
		if os.SameFile(dir, info) {
			return true
		}
	}
	if len(above) >= maxDepth {
		return w.failed(errors.New("it is too deep"))
	}
	file, err := w.fsys.Open(name)
	if err != nil {
		return w.failed(err)
	}
	defer file.Close()
	dir, ok := file.(fs.ReadDirFile)
	if !ok {
		return w.failed(errors.New("it is not a directory that can be read"))
	}
	if w.see != nil {
		w.see(name, file)
	}
	above = append(above[:len(above):len(above)], info)
	for {
		entries, err := dir.ReadDir(dirEntries)
		for _, entry := range entries {
			if w.ctx.Err() != nil || !w.entry(path+"/"+entry.Name(), entry.Type(), above) {
				return false
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return w.failed(err)
		}
	}
}

// entry lists a file or a directory, and ignores what is not served.
func (w *walk) entry(path string, mode fs.FileMode, above []fs.FileInfo) bool {
	name := caddyhttp.SanitizedPathJoin(w.root, path)
	if w.hidden.hides(w.repl, name) || cache.CheckIdentity(path) != nil {
		return true
	}
	if mode&fs.ModeSymlink != 0 {
		info, err := w.stat(name)
		if err != nil {
			return true // a dangling link
		}
		mode = info.Mode()
	}
	switch {
	case mode.IsDir():
		return w.dir(path, above)
	case mode.IsRegular():
		return w.yield(path, nil)
	}
	return true
}

// failed reports a directory that cannot be read, without its name.
func (w *walk) failed(err error) bool {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return w.yield("", fmt.Errorf("listing a directory: %w", err))
}

// Interface guards
var (
	_ source.Lister = (*Source)(nil)
	_ source.Quick  = (*Source)(nil)
)
