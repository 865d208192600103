// The state of a file.

package filesource

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
)

// fileState identifies a state of a file, to detect changes.
type fileState struct {
	kind kind
	size int64
	// modified is the date of the content in nanoseconds of Unix time, as
	// file_server uses it for its entity tag.
	modified int64
	date     dateKind
	// version distinguishes states of equal size and date, if the system
	// provides one.
	version fileVersion
}

type kind uint8

const (
	missing kind = iota
	regular      // a readable file
	other        // left to file_server: directories, devices, unreadable files
)

// dateKind says how the date of a file can be used.
type dateKind uint8

const (
	dated  dateKind = iota
	epoch           // of file systems without dates: file_server sends neither date nor tag
	noDate          // the zero time, as of embedded files: file_server sends a tag and no date
)

// The range of dates in nanoseconds of Unix time.
var (
	firstDate = time.Unix(0, math.MinInt64)
	lastDate  = time.Unix(0, math.MaxInt64)
)

func stateOf(info fs.FileInfo) fileState {
	at := info.ModTime()
	state := fileState{kind: regular, size: info.Size(), modified: at.UnixNano(), version: versionOf(info)}
	switch seconds := at.Unix(); {
	case at.IsZero():
		state.date = noDate
	case seconds == 0 || seconds == 1:
		state.date = epoch
	case at.Before(firstDate) || at.After(lastDate):
		return fileState{kind: other} // nanoseconds cannot express its date
	}
	return state
}

// stamp is the date in a record, equal on all nodes.
func (f fileState) stamp() string {
	if f.kind != regular || f.date != dated {
		return ""
	}
	return time.Unix(0, f.modified).UTC().Format(time.RFC3339Nano)
}

// fileServerTag is the entity tag that file_server sends for a file.
func (f fileState) fileServerTag() string {
	if f.date == epoch {
		return ""
	}
	return `"` + strconv.FormatInt(f.modified, 36) + "-" + strconv.FormatInt(f.size, 36) + `"`
}

// changeShows reports whether a change that keeps the size is detected, by the
// date or by the version.
func (f fileState) changeShows() bool {
	return f.version != fileVersion{} || f.date == dated
}

// unchangedFor is the time since the last known change of the file.
func (f fileState) unchangedFor(now time.Time) time.Duration {
	var changed time.Time
	switch {
	case f.version != fileVersion{}:
		changed = f.version.changed()
	case f.date == dated:
		changed = time.Unix(0, f.modified)
	default:
		return math.MaxInt64
	}
	if age := now.Sub(changed); age >= 0 {
		return age
	}
	return math.MaxInt64 // a date in the future gives no age
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

// SidecarSuffix is the suffix of the precompressed files of a coding, or "" for
// a coding that Caddy does not know.
func (s *Source) SidecarSuffix(coding string) string {
	for _, sidecar := range s.sidecars {
		if sidecar.coding == coding {
			return sidecar.suffix
		}
	}
	return ""
}

// defaultIsDisk reports whether the default file system is that of the
// operating system.
func (s *Source) defaultIsDisk() bool {
	f, err := s.fsmap.Default().Open(".")
	if err != nil {
		return false
	}
	defer f.Close()
	file, ok := f.(*os.File)
	return ok && file.Name() == "."
}

// use is what a file is opened for.
type use uint8

const (
	forState use = iota
	forContent
)

// open opens a file and reads its state. The file is nil unless it is regular.
func (s *Source) open(scope, name string, use use) (fs.File, fileState, error) {
	fsys, ok := s.fsmap.Get(scope)
	if !ok {
		return nil, fileState{kind: other}, nil
	}
	if scope == "" && s.onDisk() {
		// opening a pipe would wait for a writer
		info, err := os.Stat(name)
		if err != nil {
			return failedOpen(err)
		}
		if !info.Mode().IsRegular() {
			return nil, fileState{kind: other}, nil
		}
	}
	file, err := s.openFile(fsys, scope, name, use)
	if err != nil {
		return failedOpen(err)
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() {
		if info.Size() == 0 && !hasEnd(file) {
			file.Close()
			return nil, fileState{kind: other}, nil
		}
		return file, stateOf(info), nil
	}
	file.Close()
	if err != nil {
		return failedOpen(err)
	}
	return nil, fileState{kind: other}, nil
}

// openFile opens a regular file. To read only its state from the server's disk, it tells
// the system not to wait: Go then needs four fewer system calls to find out whether the
// file can be waited for.
func (s *Source) openFile(fsys fs.FS, scope, name string, use use) (fs.File, error) {
	if use == forState && scope == "" && s.onDisk() {
		file, err := os.OpenFile(name, os.O_RDONLY|doNotWait, 0)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		// another process has a lease of the file, which it is asked to give back
	}
	return fsys.Open(name)
}

// hasEnd reports whether a file has an end to seek. Files of the kernel, as in /proc,
// say that they are empty and have none: file_server answers them with an error.
func hasEnd(file fs.File) bool {
	seeker, ok := file.(io.Seeker)
	if !ok {
		return true
	}
	_, err := seeker.Seek(0, io.SeekEnd)
	return err == nil
}

// failedOpen maps an error as file_server does. Errors that file_server answers
// with a client error are a state, not an error.
func failedOpen(err error) (fs.File, fileState, error) {
	if isAbsent(err) {
		return nil, fileState{kind: missing}, nil
	}
	for _, refused := range []error{fs.ErrPermission, fs.ErrInvalid, syscall.ENAMETOOLONG, syscall.ELOOP} {
		if errors.Is(err, refused) {
			return nil, fileState{kind: other}, nil
		}
	}
	return nil, fileState{}, fmt.Errorf("reading the state of a file: %w", withoutName(err))
}

// isAbsent reports whether file_server answers 404 to an error.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// withoutName removes the name of the file from an error.
func withoutName(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}

// state reads the state of a file, and the codings of the precompressed files
// beside it.
func (s *Source) state(scope, name string) (state fileState, codings string, err error) {
	if state, err = s.fileState(scope, name); state.kind == regular {
		codings = s.codings(scope, name, nil)
	}
	return state, codings, err
}

// fileState reads the state of a file. It opens the file, because unreadable files are
// left to file_server.
func (s *Source) fileState(scope, name string) (fileState, error) {
	if isNoIndex(name) {
		return fileState{kind: missing}, nil
	}
	file, state, err := s.open(scope, name, forState)
	if file != nil {
		file.Close()
	}
	return state, err
}

// codings returns the codings of the precompressed files beside a file. seen is what was
// seen of its directory, or nil.
func (s *Source) codings(scope, name string, seen *listing) string {
	fsys, ok := s.fsmap.Get(scope)
	if !ok {
		return ""
	}
	stat := s.statter(fsys, scope)
	var found []string
	for _, sidecar := range s.sidecars {
		if !seen.has(name + sidecar.suffix) {
			continue
		}
		if info, err := stat(name + sidecar.suffix); err == nil && !info.IsDir() {
			found = append(found, sidecar.coding)
		}
	}
	return strings.Join(found, " ")
}

// statter returns a function that reads the metadata of files, without opening
// them where possible.
func (s *Source) statter(fsys fs.FS, scope string) func(string) (fs.FileInfo, error) {
	if scope == "" && s.onDisk() {
		return os.Stat
	}
	return func(name string) (fs.FileInfo, error) { return fs.Stat(fsys, name) }
}

// within reports whether all contains every word of some.
func within(some, all []string) bool {
	for _, word := range some {
		if !slices.Contains(all, word) {
			return false
		}
	}
	return true
}
