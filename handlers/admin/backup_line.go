// Reading the lines of a backup, which are not trusted.

package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"time"
	"unicode/utf8"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// maxBackupLine is the longest line in bytes, given the largest record. An escaped byte
// may take six.
func maxBackupLine(maxValueSize int) int {
	return 6*(maxValueSize+2*cache.MaxIdentity) + 1<<10
}

var errLineTooLong = errors.New("line is too long")

// lineReader reads lines of a limited length, and skips longer ones.
type lineReader struct {
	from *bufio.Reader
	max  int
	line []byte
}

func newLineReader(from io.Reader, maxSize int) *lineReader {
	return &lineReader{from: bufio.NewReaderSize(from, 64<<10), max: maxSize}
}

// next returns the next line, which is valid until the next call. The last line needs no
// line break.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	length := 0
	for {
		part, err := l.from.ReadSlice('\n')
		if length += len(part); length <= l.max+1 {
			l.line = append(l.line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || length == 0):
			return nil, err
		case length > l.max+1:
			return nil, errLineTooLong
		}
		return l.line, nil
	}
}

// backupLine is a record, or a tag that the key of a record bears.
type backupLine struct {
	item cache.Item
	tag  string
}

var (
	errNoLine  = errors.New("line is empty")
	errExpired = errors.New("record has expired since the backup")
)

// parseBackupLine reads a line of a backup. The errors repeat nothing of it.
func parseBackupLine(line []byte, policy *lookup.Policy, now time.Time) (backupLine, error) {
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return backupLine{}, errNoLine
	}
	var fields struct {
		Key       string          `json:"key"`
		Tag       *string         `json:"tag"`
		TTL       *int64          `json:"ttl_ms"`
		ExpiresAt *int64          `json:"expires_at"`
		Value     json.RawMessage `json:"value"`
		ValueText *string         `json:"value_text"`
	}
	// the decoder would replace invalid UTF-8, which would make another key of it
	if !utf8.Valid(line) || line[0] != '{' || !json.Valid(line) {
		return backupLine{}, errors.New("line is not a JSON object")
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		return backupLine{}, errors.New("a field is of the wrong type: want strings for key, tag and value_text, whole numbers for ttl_ms and expires_at")
	}
	parsed := backupLine{item: cache.Item{Key: fields.Key}}
	if err := CheckScope("key", fields.Key, policy); err != nil {
		return backupLine{}, err
	}
	var err error
	if parsed.item.TTL, err = restoredTTL(fields.Key, fields.TTL, fields.ExpiresAt, policy, now); err != nil {
		return backupLine{}, err
	}
	if fields.Tag != nil {
		parsed.tag = *fields.Tag
		return parsed, checkText("tag", parsed.tag)
	}
	text := string(fields.Value)
	switch {
	case fields.Value != nil && fields.ValueText != nil:
		return backupLine{}, errors.New("line has both value and value_text")
	case fields.ValueText != nil:
		text = *fields.ValueText
	case fields.Value == nil:
		return backupLine{}, errors.New("line has no value")
	}
	parsed.item.Record, err = cache.Decode(text, policy.MaxValueSize)
	return parsed, err
}

const forever = -1 // as ttl_ms

// restoredTTL returns the TTL of a restored record: until expires_at, if the line has
// it, and at most ttl_ms. A record that never expires gets the TTL of its family.
func restoredTTL(key string, ttl, expiresAt *int64, policy *lookup.Policy, now time.Time) (time.Duration, error) {
	left := time.Duration(math.MaxInt64)
	switch {
	case ttl == nil:
		return 0, errors.New("line has no ttl_ms")
	case *ttl == forever && expiresAt == nil:
		family, ok := cache.FamilyOf(policy.Families, policy.KeyPrefix, key)
		if !ok {
			return 0, errors.New("record never expires and is of no family: want a ttl_ms in milliseconds")
		}
		return family.TTL, nil
	case *ttl < 1:
		return 0, errors.New("ttl_ms is not right: want at least 1 millisecond")
	case *ttl < int64(left/time.Millisecond):
		left = time.Duration(*ttl) * time.Millisecond
	}
	if expiresAt != nil {
		left = min(left, time.UnixMilli(*expiresAt).Sub(now))
	}
	if left < cache.MinTTL {
		return 0, errExpired
	}
	return left, nil
}
