// The expiry that a record states itself, independent of its TTL in the store.

package cache

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// errExpiry is the error of a record whose expiry field cannot be read: the record
// may have expired.
var errExpiry = fmt.Errorf("%w: its expiry field is not a time", ErrInvalidRecord)

// unreadableExpiry is the expiry of a record whose expiry field cannot be read.
const unreadableExpiry = math.MinInt64

// DefaultExpiryField is the field that states a record's expiry, unless options
// name another.
const DefaultExpiryField = "expires_at"

// Units of an expiry field.
const (
	// AnyTime is a number of Unix seconds, or a text in RFC 3339. The default.
	AnyTime = ""
	// Seconds is a number of Unix seconds.
	Seconds = "seconds"
	// Milliseconds is a number of Unix milliseconds.
	Milliseconds = "milliseconds"
	// RFC3339 is a text in RFC 3339.
	RFC3339 = "rfc3339"
)

// Expiry names the field that states a record's expiry, and its unit.
type Expiry struct {
	// Field is the path of the field. Default [DefaultExpiryField].
	Field string
	// Unit is one of [AnyTime] (default), [Seconds], [Milliseconds] and [RFC3339].
	Unit string
}

// ends returns the expiry that a record states itself, in nanoseconds of Unix
// time: 0 for never, unreadableExpiry where it cannot be read.
func (l *Lookup) ends(record *Record) int64 {
	switch e := &l.options.Expiry; {
	case !l.options.ExpiresAt || record.State() != Found:
		return 0
	case record.origin == originDecoded || e.Field == "" && e.Unit == AnyTime:
		return record.expires
	case e.Field == "":
		return expiry(record, DefaultExpiryField, e.Unit)
	default:
		return expiry(record, e.Field, e.Unit)
	}
}

// expired reports whether the expiry that the record states itself has passed.
func (l *Lookup) expired(record *Record, now time.Time) bool {
	ends := l.ends(record)
	return ends != 0 && ends <= now.UnixNano()
}

// unreadable reports whether the record's expiry field cannot be read.
func (l *Lookup) unreadable(record *Record) bool { return l.ends(record) == unreadableExpiry }

// capTTL caps a TTL at the expiry that the record states itself.
func (l *Lookup) capTTL(ttl time.Duration, record *Record, now time.Time) time.Duration {
	switch ends := l.ends(record); ends {
	case 0:
		return ttl
	case unreadableExpiry:
		return 0
	default:
		return min(ttl, time.Duration(ends-now.UnixNano()))
	}
}

// expiry reads a field as an expiry.
func expiry(r *Record, field, unit string) int64 {
	v, ok := r.Field(field)
	if !ok || v.IsNull() {
		return 0
	}
	at, ok := v.timeIn(unit)
	if !ok {
		return unreadableExpiry
	}
	return unixNano(at)
}

// timeIn reads the value as a time in a unit. Numbers may be written as strings.
func (v Value) timeIn(unit string) (at time.Time, ok bool) {
	if !v.IsScalar() {
		return time.Time{}, false
	}
	if unit != RFC3339 {
		seconds, err := strconv.ParseFloat(v.Text(), 64)
		if unit == Milliseconds {
			seconds /= 1000
		}
		if err == nil {
			return fromUnix(seconds)
		}
	}
	if unit == Seconds || unit == Milliseconds {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, v.Text())
	return at, err == nil
}

// fromUnix converts a number of Unix seconds. ok is false beyond the years that
// RFC 3339 can write.
func fromUnix(seconds float64) (at time.Time, ok bool) {
	if !(seconds > -62135596800 && seconds < 253402300800) {
		return time.Time{}, false
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), true
}
