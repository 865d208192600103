// The format of a store's file: a first line that names the format, a line of
// JSON for each record, and a last line with the number of records. Each line
// begins with a checksum (CRC-32C, in hex) of all lines up to it. So a line is
// read only if it and all lines before it are as they were written, and a file
// without its last line is damaged. Keys, which may be any bytes, are in
// base64.

package memory

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	formatName    = "filewallball records"
	formatVersion = 1
	// sumLen is the length of a checksum and the space after it.
	sumLen = 9
	// lineRoom is the room in a line for everything besides the record's text, in
	// bytes.
	lineRoom = 1 << 20
)

// errDamaged is the error of a file that was changed or cut off.
var errDamaged = errors.New("file is damaged")

// errCutOff is the error of a file that ends before its last line.
var errCutOff = fmt.Errorf("%w: it ends early", errDamaged)

// castagnoli is the polynomial for which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type savedHeader struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// Saved is the time of the save, in nanoseconds of Unix time. It makes the
	// checksums of two saves differ.
	Saved int64 `json:"saved"`
	savedAt
}

type savedRecord struct {
	Key []byte `json:"key,omitempty"`
	// Expires is in nanoseconds of Unix time.
	Expires int64 `json:"expires,omitempty"`
	// Tags are those of a record in an older file, from before records contained
	// their tags.
	Tags json.RawMessage `json:"tags,omitempty"`
	// Value is the text of the record.
	Value string `json:"value,omitempty"`
}

type savedEnd struct {
	// Records is the number of lines between the first and this one.
	Records *int64 `json:"end,omitempty"`
}

// writeRecords writes all records of the store.
func (s *Store) writeRecords(ctx context.Context, w io.Writer, at savedAt) (n int64, err error) {
	e := newEncoder(w)
	if err := e.put(savedHeader{formatName, formatVersion, time.Now().UnixNano(), at}); err != nil {
		return 0, err
	}
	for key, entry := range s.records.All() { // no lock is held while a record is written
		if !live(entry) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return n, err
		}
		record := savedRecord{Key: []byte(key), Expires: entry.Expires, Value: entry.Record.Text()}
		if err := e.put(record); err != nil {
			return n, err
		}
		n++
	}
	return n, e.put(savedEnd{&n})
}

// encoder writes lines.
type encoder struct {
	w    io.Writer
	line bytes.Buffer
	json *json.Encoder
	sum  uint32
}

func newEncoder(w io.Writer) *encoder {
	e := &encoder{w: w}
	e.json = json.NewEncoder(&e.line)
	e.json.SetEscapeHTML(false)
	return e
}

func (e *encoder) put(v any) error {
	e.line.Reset()
	if err := e.json.Encode(v); err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	e.sum = crc32.Update(e.sum, castagnoli, e.line.Bytes())
	if _, err := fmt.Fprintf(e.w, "%08x ", e.sum); err != nil {
		return err
	}
	_, err := e.w.Write(e.line.Bytes())
	return err
}

// counts says how many records of a file were restored, and how many were not.
type counts struct {
	kept    int64
	expired int64
	dropped int64 // larger than MaxValueSize, or of tags that were dropped
	changed int64 // by the journals
	at      savedAt
}

// readRecords puts the records of a file into the store, up to the first
// damaged line.
func (s *Store) readRecords(ctx context.Context, r io.Reader) (n counts, err error) {
	d := newDecoder(r)
	var header savedHeader
	line, err := d.next(ctx, lineRoom)
	if err != nil {
		return n, fmt.Errorf("reading the first line: %w", err)
	}
	if json.Unmarshal(line, &header) != nil || header.Format != formatName {
		return n, fmt.Errorf("%w: its first line is not that of a file of records", errDamaged)
	}
	if header.Version != formatVersion {
		return n, fmt.Errorf("format version %d is not known, want %d", header.Version, formatVersion)
	}
	n.at = header.savedAt
	for lines := int64(0); ; lines++ {
		limit := lineLimit(s.options.Load().MaxValueSize)
		line, err := d.next(ctx, limit)
		if err != nil {
			return n, fmt.Errorf("reading line %d: %w", lines+2, err)
		}
		if line == nil {
			n.dropped++
			continue
		}
		var saved struct {
			savedRecord
			savedEnd
		}
		if json.Unmarshal(line, &saved) != nil {
			return n, fmt.Errorf("%w: line %d is not a record", errDamaged, lines+2)
		}
		if saved.Records != nil {
			return n, d.end(*saved.Records, lines)
		}
		s.restore(&saved.savedRecord, &n)
	}
}

// lineLimit is the length of the longest line that can hold a record of this
// size. Encoded as JSON, a byte can take six.
func lineLimit(maxValueSize int) int { return lineRoom + 6*min(maxValueSize, 1<<28) }

// restore restores one record and counts the result.
func (s *Store) restore(saved *savedRecord, n *counts) {
	switch {
	case saved.Expires <= time.Now().UnixNano():
		n.expired++
	case saved.Tags == nil && s.put(string(saved.Key), saved.Value, saved.Expires):
		n.kept++
	default:
		n.dropped++
	}
}

// put puts one saved record into the store, unless one of its tags has another
// version by now. Such a record must not outlive the drop of its tag.
func (s *Store) put(key, value string, expires int64) bool {
	record, err := cache.Decode(value, s.options.Load().MaxValueSize)
	if err != nil {
		return false
	}
	versions, ok := s.tags.adopt(record)
	if ok {
		s.records.Set(key, cache.Entry{Record: record, Expires: expires, Versions: versions})
	}
	return ok
}

// decoder reads lines.
type decoder struct {
	r    *bufio.Reader
	line []byte
	sum  uint32
}

func newDecoder(r io.Reader) *decoder { return &decoder{r: bufio.NewReaderSize(r, 64<<10)} }

// next reads a line, which is valid until the next call. It returns nil for a
// valid line that is longer than the limit.
func (d *decoder) next(ctx context.Context, limit int) ([]byte, error) {
	var head [sumLen]byte
	if _, err := io.ReadFull(d.r, head[:]); err != nil {
		return nil, asCutOff(err)
	}
	d.line = d.line[:0]
	fits := true
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part, err := d.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, asCutOff(err)
		}
		more = err != nil
		d.sum = crc32.Update(d.sum, castagnoli, part)
		if fits = fits && len(d.line)+len(part) <= limit; fits {
			d.line = append(d.line, part...)
		}
	}
	sum, err := strconv.ParseUint(string(head[:sumLen-1]), 16, 32)
	switch {
	case err != nil || head[sumLen-1] != ' ' || uint32(sum) != d.sum:
		return nil, fmt.Errorf("%w: its checksum is wrong", errDamaged)
	case !fits:
		return nil, nil
	}
	return d.line, nil
}

// end checks the last line and what follows it.
func (d *decoder) end(claimed, lines int64) error {
	if claimed != lines {
		return fmt.Errorf("%w: it has %d records and should have %d", errDamaged, lines, claimed)
	}
	if _, err := d.r.ReadByte(); err == nil {
		return fmt.Errorf("%w: it goes on after its last line", errDamaged)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// asCutOff turns the error of a file that ends within a line, or without its last
// line, into errCutOff.
func asCutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutOff
	}
	return err
}
