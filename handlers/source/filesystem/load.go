// Making records of files.

package filesource

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
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

// Load implements [cache.Source].
func (s *Source) Load(ctx context.Context, req cache.Request, old *cache.Record) (cache.Loaded, error) {
	began := time.Now()
	sn := new(seen)
	var err error
	if s.Hash == "" {
		sn.look, err = s.look(req.Scope, req.ID)
	} else {
		sn.look, sn.sum, err = s.lookAndHash(ctx, req)
	}
	if err != nil {
		return cache.Loaded{}, err
	}
	record, err := s.record(req, sn, old)
	if err != nil {
		return cache.Loaded{}, err
	}
	sn.record, sn.holds = record.Text(), true
	s.note(req.Key, began, sn)
	return cache.Loaded{Record: record}, nil
}

// record says what was seen.
func (s *Source) record(req cache.Request, sn *seen, old *cache.Record) (*cache.Record, error) {
	switch sn.kind {
	case missing:
		return cache.AbsentRecord(), nil
	case other:
		return cache.Encode(fileRecord{Regular: new(bool)}, maxRecord)
	}
	r := fileRecord{
		Name: filepath.Base(req.ID), Size: &sn.size, Modified: sn.stamp(), ETag: sn.fileServerTag(),
		SHA256: sn.sum, Encodings: strings.Fields(sn.codings),
	}
	if sn.sum != "" {
		r.ETag = `"` + sn.sum + `"`
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

// fileServerTag is the entity tag that file_server gives a file.
func (l look) fileServerTag() string {
	if !l.useful() {
		return ""
	}
	return `"` + strconv.FormatInt(l.modified, 36) + "-" + strconv.FormatInt(l.size, 36) + `"`
}

// errChanged says that a file was written to while it was read.
var errChanged = errors.New("file changed while it was read")

// lookAndHash looks at a file and finds its hash, in the shared cache or by
// reading it.
func (s *Source) lookAndHash(ctx context.Context, req cache.Request) (look, string, error) {
	file, l, err := s.open(req.Scope, req.ID)
	if file == nil {
		return l, "", err
	}
	defer file.Close()
	l.codings = s.codings(req.Scope, req.ID)
	if !l.useful() {
		return l, "", nil // no date would tell that the content is another one
	}
	if sum, ok := s.sharedSum(ctx, req, l); ok {
		return l, sum, nil
	}
	if err := settle(ctx, l); err != nil {
		return look{}, "", err
	}
	sum, err := hash(ctx, file)
	if err != nil {
		return look{}, "", fmt.Errorf("hashing file: %w", err)
	}
	after, err := file.Stat()
	if err != nil || after.Size() != l.size || after.ModTime().UnixNano() != l.modified {
		return look{}, "", errChanged
	}
	s.shareSum(ctx, req, l, sum)
	return l, sum, nil
}

// tick is longer than the steps in which kernels count file dates.
const tick = 20 * time.Millisecond

// settle waits until the next write to a file will show in its date: two in
// one step of the clock do not.
func settle(ctx context.Context, l look) error {
	age := time.Since(time.Unix(0, l.modified))
	if age < 0 || age >= tick {
		return nil
	}
	select {
	case <-time.After(tick - age):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hash reads a file to its end, or until the context ends.
func hash(ctx context.Context, file fs.File) (string, error) {
	sum := sha256.New()
	buf := make([]byte, 128<<10)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := file.Read(buf)
		sum.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			if pe, ok := errors.AsType[*fs.PathError](err); ok {
				err = pe.Err // it must not name the file
			}
			return "", err
		}
	}
}

const (
	// sumTTL is how long a hash is kept for the fleet: longer than records,
	// which are cheap to make again once the hash is known.
	sumTTL = 7 * 24 * time.Hour
	// sumTimeout bounds each call of the shared cache.
	sumTimeout = cache.DefaultLookupTimeout
)

// sumKey is the key of the hash of a file as it was at a date.
func (s *Source) sumKey(req cache.Request, l look) string {
	name := fullName(req.Scope, req.ID)
	return s.fleet.KeyPrefix() + "file:meta:sha256:" + strconv.FormatInt(l.size, 10) + "-" +
		strconv.FormatInt(l.modified, 10) + ":" + cache.KeyIdentity(name, false)
}

// sharedSum asks the shared cache for a file's hash. Without an answer, the
// file has to be read.
func (s *Source) sharedSum(ctx context.Context, req cache.Request, l look) (sum string, ok bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sumTimeout)
	defer cancel()
	entry, err := s.fleet.Cache().Get(ctx, s.sumKey(req, l))
	if err != nil || entry.Record == nil {
		return "", false
	}
	sum = readFields(entry.Record).sum
	return sum, len(sum) == hex.EncodedLen(sha256.Size)
}

// shareSum keeps a hash for the fleet. Where it fails, others read the file too.
func (s *Source) shareSum(ctx context.Context, req cache.Request, l look, sum string) {
	record, err := cache.Encode(fileRecord{SHA256: sum}, maxRecord)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sumTimeout)
	defer cancel()
	_ = s.fleet.Cache().Set(ctx, s.sumKey(req, l), record, sumTTL)
}
