// Looking at a file, without ever saying more about it than that it can be
// served.

package filesource

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
)

// look is what a look at a file told.
type look struct {
	kind     kind
	size     int64
	modified int64  // nanoseconds of Unix time
	codings  string // of the precompressed files beside it, space-separated
	// version tells a file from one with the same size and date, where the
	// system knows.
	version fileVersion
}

type kind uint8

const (
	missing kind = iota
	regular      // a file that can be read
	other        // what only file_server knows what to do with
)

// useful tells whether the date is one: file systems without dates give the
// first second of Unix time or the next, and file_server ignores these.
func (l look) useful() bool {
	seconds := time.Unix(0, l.modified).Unix()
	return seconds != 0 && seconds != 1
}

// stamp is the date as it stands in a record, the same on every node.
func (l look) stamp() string {
	if !l.useful() {
		return ""
	}
	return time.Unix(0, l.modified).UTC().Format(time.RFC3339Nano)
}

// sidecar is a kind of precompressed file that file_server may serve instead.
type sidecar struct{ coding, suffix string }

func knownSidecars() []sidecar {
	var known []sidecar
	for _, module := range caddy.GetModules("http.precompressed") {
		if p, ok := module.New().(encode.Precompressed); ok {
			known = append(known, sidecar{p.AcceptEncoding(), p.Suffix()})
		}
	}
	return known
}

// defaultIsDisk tells whether names in the default file system are those of
// the operating system.
func (s *Source) defaultIsDisk() bool {
	f, err := s.fsmap.Default().Open(".")
	if err != nil {
		return false
	}
	defer f.Close()
	file, ok := f.(*os.File)
	return ok && file.Name() == "."
}

// open opens a file with what a look at it tells. The file is nil unless it is
// regular.
func (s *Source) open(scope, name string) (fs.File, look, error) {
	fsys, ok := s.fsmap.Get(scope)
	if !ok {
		return nil, look{kind: other}, nil
	}
	if scope == "" && s.onDisk() {
		// opening a pipe would wait for somebody to write into it
		info, err := os.Stat(name)
		if err != nil {
			return failedLook(err)
		}
		if !info.Mode().IsRegular() {
			return nil, look{kind: other}, nil
		}
	}
	file, err := fsys.Open(name)
	if err != nil {
		return failedLook(err)
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() {
		return file, lookOf(info), nil
	}
	file.Close()
	if err != nil {
		return failedLook(err)
	}
	return nil, look{kind: other}, nil
}

func lookOf(info fs.FileInfo) look {
	return look{kind: regular, size: info.Size(), modified: info.ModTime().UnixNano(), version: versionOf(info)}
}

// failedLook says what file_server makes of an error. What is an answer for
// the client there is not an error here.
func failedLook(err error) (fs.File, look, error) {
	for _, absent := range []error{fs.ErrNotExist, syscall.ENOTDIR} {
		if errors.Is(err, absent) {
			return nil, look{kind: missing}, nil
		}
	}
	for _, refused := range []error{fs.ErrPermission, fs.ErrInvalid, syscall.ENAMETOOLONG, syscall.ELOOP} {
		if errors.Is(err, refused) {
			return nil, look{kind: other}, nil
		}
	}
	// the error must not name the file
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return nil, look{}, fmt.Errorf("looking at file: %w", err)
}

// look looks at a file and what lies beside it.
func (s *Source) look(scope, name string) (look, error) {
	file, l, err := s.open(scope, name)
	if file != nil {
		file.Close()
		l.codings = s.codings(scope, name)
	}
	return l, err
}

func (s *Source) codings(scope, name string) string {
	fsys, ok := s.fsmap.Get(scope)
	if !ok {
		return ""
	}
	stat := s.statter(fsys, scope)
	var found []string
	for _, sidecar := range s.sidecars {
		if info, err := stat(name + sidecar.suffix); err == nil && !info.IsDir() {
			found = append(found, sidecar.coding)
		}
	}
	return strings.Join(found, " ")
}

// statter looks at files without opening them, where that can be done.
func (s *Source) statter(fsys fs.FS, scope string) func(string) (fs.FileInfo, error) {
	if scope == "" && s.onDisk() {
		return os.Stat
	}
	return func(name string) (fs.FileInfo, error) { return fs.Stat(fsys, name) }
}

// within tells whether every word of some is among those of all.
func within(some, all []string) bool {
	for _, word := range some {
		if !slices.Contains(all, word) {
			return false
		}
	}
	return true
}
