// When a cached record still holds: remembered looks at files, so that a hit
// costs no I/O nearly always.

package filesource

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// sighting is what this node knows of one file.
type sighting struct {
	// checked is when the last look began, in nanoseconds of Unix time.
	checked atomic.Int64
	seen    atomic.Pointer[seen]
}

// seen is what the last look told, and what it means for a record.
type seen struct {
	look
	failed bool   // the look did not succeed
	sum    string // hex SHA-256 of what was looked at, where it is known
	// record is the text of the record that was last compared with it.
	record string
	holds  bool
}

// Valid implements [cache.Revalidator]. It looks at a file at most once per
// revalidate; who comes while another is looking gets what is known by then.
func (s *Source) Valid(ctx context.Context, req cache.Request, record *cache.Record, now time.Time) bool {
	if record.State() == cache.Denied {
		return true // somebody's decision, which no file contradicts
	}
	sg, ok := s.sightings.GetIfPresent(req.Key)
	if !ok {
		sg, _ = s.sightings.SetIfAbsent(req.Key, new(sighting))
	}
	checked := sg.checked.Load()
	last := sg.seen.Load()
	if s.due(checked, now) {
		// somebody may have looked since now
		if now := time.Now(); s.due(checked, now) && sg.checked.CompareAndSwap(checked, now.UnixNano()) {
			next := s.lookAgain(req, last)
			sg.seen.Store(next)
			last = next
		}
	}
	if last == nil {
		return false // the first look is under way
	}
	if last.record == record.Text() {
		return last.holds
	}
	compared := *last
	compared.compare(ctx, s, req, record)
	sg.seen.CompareAndSwap(last, &compared) // unless there was another look
	return compared.holds
}

// due tells whether it is time for another look, also where the clock has been
// set back.
func (s *Source) due(checked int64, now time.Time) bool {
	age := now.UnixNano() - checked
	return age < 0 || age >= int64(s.Revalidate)
}

// lookAgain looks at a file and keeps of the last look what is still true.
func (s *Source) lookAgain(req cache.Request, last *seen) *seen {
	l, err := s.look(req.Scope, req.ID)
	if last != nil && err == nil && !last.failed && l == last.look {
		return last
	}
	return &seen{look: l, failed: err != nil}
}

// compare tells whether a record says of a file what was seen of it.
func (sn *seen) compare(ctx context.Context, s *Source, req cache.Request, record *cache.Record) {
	sn.record = record.Text()
	sn.holds = !sn.failed && sn.agrees(ctx, s, req, record)
}

func (sn *seen) agrees(ctx context.Context, s *Source, req cache.Request, record *cache.Record) bool {
	fields := readFields(record)
	switch {
	case record.State() == cache.Absent:
		return sn.kind == missing
	case fields.other:
		return sn.kind == other
	case sn.kind != regular, !within(strings.Fields(sn.codings), fields.encodings):
		return false
	case fields.size == sn.size && fields.modified == sn.stamp():
		return s.Hash == "" || fields.sum != "" || !sn.useful()
	case s.Hash == "" || fields.sum == "" || !sn.useful():
		return false
	}
	// other dates on another node do not matter where the content is the same
	if sn.sum == "" {
		sn.sum, _ = s.sharedSum(ctx, req, sn.look)
	}
	return sn.sum == fields.sum
}

// note remembers a look that a record was made of.
func (s *Source) note(key string, began time.Time, sn *seen) {
	sg, _ := s.sightings.SetIfAbsent(key, new(sighting))
	sg.seen.Store(sn)
	sg.checked.Store(began.UnixNano())
}

// fields are those of a record of this source.
type fields struct {
	size          int64
	modified, sum string
	encodings     []string
	other         bool
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
		f.other = v.JSON() == "false"
	}
	return f
}
