// Whether a cached record describes the file on this node. Nearly every hit decides that
// without I/O.

package filesource

import (
	"context"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// lastCheck is the state of one file as this node last saw it.
type lastCheck struct {
	// began is when the last check began, in nanoseconds of Unix time.
	began atomic.Int64
	known atomic.Pointer[knownFile]
	pace  hashPace // guarded by the hasher's mutex
}

// knownFile is the result of a check. It is immutable.
type knownFile struct {
	fileState
	codings string // of the precompressed files beside it, space-separated
	failed  bool   // the check did not succeed
	sum     string // the hex SHA-256 of the content, "" where it is not known
	// unhashable reports that reading the content failed.
	unhashable bool

	// replaced reports that this node has replaced the cached record since it
	// saw the file in this state. It does so once per state: nodes whose files
	// differ would otherwise replace each other's records forever.
	replaced bool
	// own is the record that this node makes of the file, nil until it is
	// needed.
	own *cache.Record
	// cached is the text of the cached record that was compared last, and use
	// the record to use in its place. nil: load from the source.
	cached string
	use    *cache.Record
}

// Current implements [cache.Revalidator]. It checks a file at most once per
// revalidate; a request during a check gets the result of the previous one.
func (s *Source) Current(_ context.Context, req cache.Request, record *cache.Record, now time.Time) (*cache.Record, bool) {
	if record.State() == cache.Denied {
		return record, true // a refusal does not depend on the file
	}
	last := s.lastCheck(req.Key)
	began := last.began.Load()
	known := last.known.Load()
	if s.due(began, now) {
		// another request may have checked the file meanwhile
		if now := time.Now(); s.due(began, now) && last.began.CompareAndSwap(began, now.UnixNano()) {
			known = s.check(req, last)
		}
	}
	if known == nil {
		return nil, false // the first check is under way
	}
	if known.cached != record.Text() {
		compared := *known
		s.compare(&compared, req, record)
		last.known.CompareAndSwap(known, &compared) // unless there was another check
		known = &compared
	}
	return known.use, known.use != nil
}

func (s *Source) lastCheck(key string) *lastCheck {
	last, ok := s.checks.GetIfPresent(key)
	if !ok {
		last, _ = s.checks.SetIfAbsent(key, new(lastCheck))
	}
	return last
}

// due reports whether the file must be checked again. A clock that was set back
// makes it due.
func (s *Source) due(began int64, now time.Time) bool {
	age := now.UnixNano() - began
	return age < 0 || age >= int64(s.Revalidate)
}

// check reads the state of a file. It keeps what the last check found if the
// state is the same.
func (s *Source) check(req cache.Request, last *lastCheck) *knownFile {
	state, codings, err := s.state(req.Scope, req.ID)
	before := last.known.Load()
	if before != nil && err == nil && !before.failed && state == before.fileState && codings == before.codings {
		s.hashLater(req, before)
		return before
	}
	next := &knownFile{fileState: state, codings: codings, failed: err != nil}
	if before != nil && err == nil && state == before.fileState {
		next.sum, next.unhashable = before.sum, before.unhashable
	}
	s.hashLater(req, next)
	last.known.Store(next)
	return next
}

// compare decides which record to use in place of a cached one.
func (s *Source) compare(known *knownFile, req cache.Request, record *cache.Record) {
	known.cached, known.use = record.Text(), nil
	switch {
	case known.failed:
	case s.agrees(known, record):
		known.use = record
	case known.replaced, s.pending(known):
		if known.own == nil {
			known.own, _ = s.record(req, known, record)
		}
		known.use = known.own
	}
}

// agrees reports whether a record describes a file.
func (s *Source) agrees(known *knownFile, record *cache.Record) bool {
	fields := readFields(record)
	switch {
	case record.State() == cache.Absent:
		return known.kind == missing
	case fields.notRegular:
		return known.kind == other
	case known.kind != regular, fields.size != known.size, !within(strings.Fields(known.codings), fields.encodings):
		return false
	case s.hashes(known):
		// the content decides, because dates may differ between nodes
		return fields.sum == known.sum && (known.sum != "" || fields.modified == known.stamp())
	}
	return fields.sum == "" && fields.modified == known.stamp()
}

// note stores the state that a record was made from.
func (c *lastCheck) note(began time.Time, known *knownFile) {
	for {
		before := c.known.Load()
		if before != nil && before.fileState == known.fileState && before.sum != "" && known.sum == "" {
			break // its hash was learned meanwhile
		}
		if c.known.CompareAndSwap(before, known) {
			break
		}
	}
	c.began.Store(began.UnixNano())
}

// Describes reports whether a record of this source describes the file with
// this info: the checked file, in the state that it had then.
func (s *Source) Describes(req cache.Request, record *cache.Record, info fs.FileInfo) bool {
	known := s.inUse(req, record)
	return known != nil && info.Mode().IsRegular() && stateOf(info) == known.fileState
}

// Modified is the date on this node of the file that a record of this source
// describes, or zero.
func (s *Source) Modified(req cache.Request, record *cache.Record) time.Time {
	known := s.inUse(req, record)
	if known == nil || known.date != dated {
		return time.Time{}
	}
	return time.Unix(0, known.modified)
}

// StillDescribes reports whether a record describes the file in its state now.
// It reads that state, whenever the last check was.
func (s *Source) StillDescribes(req cache.Request, record *cache.Record) bool {
	known := s.inUse(req, record)
	if known == nil {
		return false
	}
	state, err := s.fileState(req.Scope, req.ID)
	return err == nil && state == known.fileState
}

// inUse is the result of the last check, if the record is the one to use.
func (s *Source) inUse(req cache.Request, record *cache.Record) *knownFile {
	last, ok := s.checks.GetIfPresent(req.Key)
	if !ok {
		return nil
	}
	known := last.known.Load()
	if known == nil || known.kind != regular || known.failed {
		return nil
	}
	if known.use == nil || known.use != record && known.use.Text() != record.Text() {
		// another node's record may have been compared since
		if !s.agrees(known, record) {
			return nil
		}
	}
	return known
}

// fields are the fields of a record of this source.
type fields struct {
	size          int64
	modified, sum string
	encodings     []string
	notRegular    bool
}

func readFields(record *cache.Record) fields {
	f := fields{size: -1}
	if v, ok := record.Field("size"); ok {
		if size, ok := v.Int(); ok {
			f.size = size
		}
	}
	if v, ok := record.Field("modified"); ok {
		f.modified = v.Text()
	}
	if v, ok := record.Field("sha256"); ok && v.IsString() {
		f.sum = v.Text()
	}
	if v, ok := record.Field("encodings"); ok {
		f.encodings = v.Strings()
	}
	if v, ok := record.Field("regular"); ok {
		f.notRegular = v.JSON() == "false"
	}
	return f
}
