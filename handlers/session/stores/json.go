// Sessions that are JSON already.

package stores

import (
	"errors"
	"fmt"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

var (
	errNoString = errors.New("value is a hash, and the sessions of this store are strings")
	errNoObject = errors.New("value is not a JSON object")
)

// readJSON reads a session that is a JSON object, and its record, to find
// fields in it.
func readJSON(raw cache.Raw) (Session, *cache.Record, error) {
	if raw.Fields != nil {
		return Session{}, nil, errNoString
	}
	record, err := cache.Decode(raw.Text, len(raw.Text))
	if err != nil || !isObject(raw.Text) {
		return Session{}, nil, errNoObject
	}
	return Session{JSON: raw.Text}, record, nil
}

func isObject(text string) bool { return len(text) > 0 && text[0] == '{' }

// expiry is the time in a field: RFC 3339 as JavaScript writes dates, or
// milliseconds. The zero time where there is none; one that cannot be read is
// an error, for it would be taken for no limit.
func expiry(record *cache.Record, path string) (time.Time, error) {
	v, ok := record.Field(path)
	if !ok || v.IsNull() {
		return time.Time{}, nil
	}
	if !v.IsString() {
		if ms, ok := milliseconds(v); ok {
			return ms, nil
		}
	} else if at, ok := v.Time(); ok {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%s is neither a date nor a number of milliseconds", path)
}

func milliseconds(v cache.Value) (time.Time, bool) {
	ms, ok := v.Int()
	return time.UnixMilli(ms), ok && ms > 0
}
