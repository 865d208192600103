// Records of files.

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
	// Encodings are the content codings of the precompressed files.
	Encodings []string `json:"encodings,omitempty"`
	// Regular is false for a path that is left to the next handler.
	Regular *bool `json:"regular,omitempty"`
}

// maxRecord is the largest record, in bytes. Records stay far below it.
const maxRecord = 64 << 10

// Load implements [cache.Source]. It does not wait for a hash: a record without
// one is replaced once the hash is known.
func (s *Source) Load(_ context.Context, req cache.Request, old *cache.Record) (cache.Loaded, error) {
	began := time.Now()
	state, err := s.fileState(req.Scope, req.ID)
	if err != nil {
		return cache.Loaded{}, err
	}
	var codings string
	if state.kind == regular {
		seen := s.listings.of(req, began.Add(-time.Duration(s.Revalidate)))
		if codings = s.codings(req.Scope, req.ID, seen); seen != nil {
			began = seen.began // the check is as old as the oldest that it knows
		}
	}
	last := s.lastCheck(req.Key)
	known := last.knownAs(state)
	known.codings = codings
	record, err := s.record(req, known, old)
	if err != nil {
		return cache.Loaded{}, err
	}
	known.replaced, known.own = true, record
	known.cached, known.use = record.Text(), record
	last.note(began, known)
	s.hashLater(req, known) // the hash will be stored in what was noted
	return cache.Loaded{Record: record}, nil
}

// knownAs returns a copy of what is known of a file in this state.
func (c *lastCheck) knownAs(state fileState) *knownFile {
	known := &knownFile{fileState: state}
	if before := c.known.Load(); before != nil && before.fileState == state {
		known.sum, known.unhashable = before.sum, before.unhashable
	}
	return known
}

// record makes the record of what is known of a file.
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
		r.carryOver(readFields(old))
	}
	return cache.Encode(r, maxRecord)
}

// carryOver takes values over from the previous record that may differ between the copies
// of a file on several nodes, so that the nodes do not keep replacing each other's
// records.
func (r *fileRecord) carryOver(old fields) {
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
