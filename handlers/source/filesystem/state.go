// What the state of a file is, found out without ever saying more about it than
// that it can be served.

package filesource

import (
	"errors"
	"fmt"
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

// fileState identifies a state of a file, to notice changes.
type fileState struct {
	kind kind
	size int64
	// modified is the date of the content in nanoseconds of Unix time, as
	// file_server takes it for its entity tag.
	modified int64
	date     dateKind
	// version tells states with the same size and date apart, where the system
	// has it.
	version fileVersion
}

type kind uint8

const (
	missing kind = iota
	regular      // a file that can be read
	other        // what only file_server knows what to do with
)

// dateKind says what the date of a file is worth.
type dateKind uint8

const (
	dated  dateKind = iota
	epoch           // of file systems without dates: file_server sends neither date nor tag
	noDate          // the zero time, as of embedded files: file_server sends a tag and no date
)

// The dates that nanoseconds of Unix time can express.
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
		return fileState{kind: other} // its date would be sent as another one
	}
	return state
}

// stamp is the date as it stands in a record, the same on every node.
func (f fileState) stamp() string {
	if f.kind != regular || f.date != dated {
		return ""
	}
	return time.Unix(0, f.modified).UTC().Format(time.RFC3339Nano)
}

// fileServerTag is the entity tag that file_server gives a file.
func (f fileState) fileServerTag() string {
	if f.date == epoch {
		return ""
	}
	return `"` + strconv.FormatInt(f.modified, 36) + "-" + strconv.FormatInt(f.size, 36) + `"`
}

// changeShows reports whether a change that keeps the size is seen: by the
// date or, where the system has it, by the version.
func (f fileState) changeShows() bool {
	return f.version != fileVersion{} || f.date == dated
}

// unchangedFor is how long ago the file was changed last, as far as is known.
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
	return math.MaxInt64 // a clock that is ahead says nothing
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

// SidecarSuffix is what the name of a file's precompressed form ends with, ""
// for a coding that Caddy does not know.
func (s *Source) SidecarSuffix(coding string) string {
	for _, sidecar := range s.sidecars {
		if sidecar.coding == coding {
			return sidecar.suffix
		}
	}
	return ""
}

// defaultIsDisk reports whether names in the default file system are those of
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

// open opens a file and finds out its state. The file is nil unless it is
// regular.
func (s *Source) open(scope, name string) (fs.File, fileState, error) {
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
	file, err := fsys.Open(name)
	if err != nil {
		return failedOpen(err)
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() {
		return file, stateOf(info), nil
	}
	file.Close()
	if err != nil {
		return failedOpen(err)
	}
	return nil, fileState{kind: other}, nil
}

// failedOpen says what file_server makes of an error. What is an answer for
// the client there is not an error here.
func failedOpen(err error) (fs.File, fileState, error) {
	for _, absent := range []error{fs.ErrNotExist, syscall.ENOTDIR} {
		if errors.Is(err, absent) {
			return nil, fileState{kind: missing}, nil
		}
	}
	for _, refused := range []error{fs.ErrPermission, fs.ErrInvalid, syscall.ENAMETOOLONG, syscall.ELOOP} {
		if errors.Is(err, refused) {
			return nil, fileState{kind: other}, nil
		}
	}
	return nil, fileState{}, fmt.Errorf("reading the state of a file: %w", withoutName(err))
}

// withoutName takes the name of the file out of an error.
func withoutName(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}

// state finds out the state of a file, and for which codings there are
// precompressed files beside it. It opens the file: one that cannot be read is
// left to file_server.
func (s *Source) state(scope, name string) (state fileState, codings string, err error) {
	file, state, err := s.open(scope, name)
	if file != nil {
		file.Close()
		codings = s.codings(scope, name)
	}
	return state, codings, err
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

// statter reads the metadata of files without opening them, where that can be
// done.
func (s *Source) statter(fsys fs.FS, scope string) func(string) (fs.FileInfo, error) {
	if scope == "" && s.onDisk() {
		return os.Stat
	}
	return func(name string) (fs.FileInfo, error) { return fs.Stat(fsys, name) }
}

// within reports whether every word of some is among those of all.
func within(some, all []string) bool {
	for _, word := range some {
		if !slices.Contains(all, word) {
			return false
		}
	}
	return true
}
