// How a lookup reads values that an application stores in its own format, such as
// a session in msgpack.

package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Decoder turns values that are not records into records. It decodes a value once
// per read of the store; near copies keep the record.
type Decoder interface {
	// ID identifies the decoding: two decoders with one ID make the same record of the
	// same value. A near copy is used only by lookups whose decoder has the ID of the
	// one that made it.
	ID() string
	// Decode returns the text of a JSON object and the time at which the record
	// expires; the zero time means never. Lookups give no field of the object a
	// meaning, not even expires_at or denied. Errors must not repeat the value.
	Decode(raw Raw) (text string, expires time.Time, err error)
}

// Raw is a value as an application stored it: a string, or the fields of a hash.
type Raw struct {
	Text string
	// Fields is nil unless the value is a hash.
	Fields map[string]string
	// Expires is when the store will drop the value, in nanoseconds of Unix time; 0
	// means never.
	Expires int64
}

// RawReader is a [Store] that also reads values which are not records.
type RawReader interface {
	// GetRaw reads a value in any format, no larger than the store's limit; it returns
	// nil where there is none. For a larger value, or one that is neither a string nor
	// a hash, the error wraps [ErrInvalidRecord].
	GetRaw(ctx context.Context, key string) (*Raw, error)
}

// setDecoder makes the lookup read raw values, if it has a decoder.
func (l *Lookup) setDecoder() error {
	if l.options.Decoder == nil {
		return nil
	}
	if l.options.Source != nil {
		return errors.New("it has a decoder and a source, want only one: records from a source cannot be written in the application's own format")
	}
	raw, ok := l.cache.store.(RawReader)
	if !ok {
		return fmt.Errorf("it has a decoder, and the %s store reads no values in other formats: want a store in Redis", l.cache.store.Name())
	}
	id := l.options.Decoder.ID()
	if id == "" {
		return errors.New("its decoder has no ID")
	}
	sum := sha256.Sum256([]byte(id))
	l.raw, l.decoderID = raw, binary.BigEndian.Uint64(sum[:])
	return nil
}

// read reads the entry of a key, decoded where the lookup has a decoder.
func (l *Lookup) read(ctx context.Context, key string) (Entry, error) {
	if l.raw == nil {
		return l.cache.store.Get(ctx, key)
	}
	raw, err := l.raw.GetRaw(ctx, key)
	if err != nil || raw == nil {
		return Entry{}, err
	}
	text, expires, err := l.options.Decoder.Decode(*raw)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	record, err := decodedRecord(text, expires)
	if err != nil {
		return Entry{}, err
	}
	record.origin, record.sourceID = originDecoded, l.decoderID
	return Entry{Record: record, Expires: raw.Expires}, nil
}

func decodedRecord(text string, expires time.Time) (*Record, error) {
	switch {
	case !strings.HasPrefix(text, "{"):
		return nil, fmt.Errorf("%w: decoded value is not a JSON object", ErrInvalidRecord)
	case !utf8.ValidString(text), !json.Valid([]byte(text)):
		return nil, fmt.Errorf("%w: decoded value is not valid JSON", ErrInvalidRecord)
	}
	r := newRecord(text)
	if !expires.IsZero() {
		r.expires = unixNano(expires)
	}
	return r, nil
}
