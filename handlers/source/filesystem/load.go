// Making records of files.

package filesource

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// fileRecord is the record of a file.
type fileRecord struct {
	Name     string `json:"name,omitempty"`
	Size     *int64 `json:"size,omitempty"`
	Modified string `json:"modified,omitempty"`
	ETag     string `json:"etag,omitempty"`
	SHA256   string `json:"sha256,omitempty"`
	// Encodings are content codings for which there are precompressed files.
	Encodings []string `json:"encodings,omitempty"`
	// Regular is false for what is left to the next handler.
	Regular *bool `json:"regular,omitempty"`
}

// maxRecord bounds a record in bytes; none comes near it.
const maxRecord = 64 << 10

// Load implements [cache.Source]. It waits for no hash but that of a small file,
// and not for long: a record without a hash is replaced once there is one.
func (s *Source) Load(ctx context.Context, req cache.Request, old *cache.Record) (cache.Loaded, error) {
	began := time.Now()
	state, codings, err := s.state(req.Scope, req.ID)
	if err != nil {
		return cache.Loaded{}, err
	}
	known := s.knownAs(req.Key, state)
	known.codings = codings
	if s.pending(known) {
		s.note(req.Key, began, known) // where the hash will be remembered
		if ended := s.hashLater(req, known); ended != nil && state.size <= smallFile {
			select {
			case <-ended:
			case <-ctx.Done():
			case <-time.After(smallFileWait):
			}
			known = s.knownAs(req.Key, state)
			known.codings = codings
		}
	}
	record, err := s.record(req, known, old)
	if err != nil {
		return cache.Loaded{}, err
	}
	known.replaced, known.own = true, record
	known.cached, known.use = record.Text(), record
	s.note(req.Key, began, known)
	return cache.Loaded{Record: record}, nil
}

// knownAs is what is known of a file in this state, as a new value.
func (s *Source) knownAs(key string, state fileState) *knownFile {
	known := &knownFile{fileState: state}
	if last := s.lastCheck(key).known.Load(); last != nil && last.fileState == state {
		known.sum, known.unhashable = last.sum, last.unhashable
	}
	return known
}

// record says what is known of a file.
func (s *Source) record(req cache.Request, known *knownFile, old *cache.Record) (*cache.Record, error) {
	switch known.kind {
	case missing:
		return cache.AbsentRecord(), nil
	case other:
		return cache.Encode(fileRecord{Regular: new(bool)}, maxRecord)
	}
	r := fileRecord{
		Name: filepath.Base(req.ID), Size: &known.size, Modified: known.stamp(),
		SHA256: known.sum, Encodings: strings.Fields(known.codings),
	}
	switch {
	case known.sum != "":
		r.ETag = `"` + known.sum + `"`
	case !s.hashes(known):
		r.ETag = known.fileServerTag()
	}
	if old != nil && old.State() == cache.Found {
		r.keep(readFields(old))
	}
	return cache.Encode(r, maxRecord)
}

// keep takes over from the record before this one what nodes whose copies of
// the file differ would otherwise change back and forth.
func (r *fileRecord) keep(old fields) {
	switch {
	case r.SHA256 != "" && r.SHA256 == old.sum:
		r.Modified = old.modified
	case *r.Size != old.size || r.Modified != old.modified:
		return
	}
	for _, coding := range old.encodings {
		if !slices.Contains(r.Encodings, coding) {
			r.Encodings = append(r.Encodings, coding)
		}
	}
}
