// Conditional requests (RFC 9110, section 13), decided by a record instead of
// by the file.

package metadata

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// validators are those of the representation that a request is about.
type validators struct {
	etag     string    // "" if unknown
	modified time.Time // zero if unknown
	// lastModified is modified as it stands in a header, or "".
	lastModified string
}

// decision is the result of the preconditions of a request.
type decision uint8

const (
	// undecided: the decision needs an unknown validator.
	undecided decision = iota
	// proceed: all preconditions hold, or there are none.
	proceed
	// notModified: the client has the representation.
	notModified
	// failed: the client wants another representation.
	failed
)

// check evaluates the preconditions of a GET or HEAD request in the order of
// RFC 9110, section 13.2.2, as [http.ServeContent] does. Unlike it, it reads a
// list that is split over several field lines as one list.
func (v *validators) check(h http.Header) decision {
	if list := fieldValue(h, "If-Match"); list != "" {
		switch v.in(list, strongMatch) {
		case no:
			return failed
		case unknown:
			return undecided
		}
	} else if at, ok := v.date(h, "If-Unmodified-Since"); ok {
		if v.modified.IsZero() {
			return undecided
		}
		if v.modifiedAfter(at) {
			return failed
		}
	}
	if list := fieldValue(h, "If-None-Match"); list != "" {
		switch v.in(list, weakMatch) {
		case yes:
			return notModified
		case unknown:
			return undecided
		}
	} else if at, ok := v.date(h, "If-Modified-Since"); ok {
		if v.modified.IsZero() {
			return undecided
		}
		if !v.modifiedAfter(at) {
			return notModified
		}
	}
	return proceed
}

// stripDecided removes the preconditions that [validators.check] has decided.
// The next handler, which may know another date of the file, must not decide
// them again.
func stripDecided(h http.Header) {
	for _, name := range []string{"If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since"} {
		delete(h, name)
	}
}

// stripRange removes an If-Range that does not match, together with Range. The
// validators must be those of the file that will be served: otherwise a client
// would join parts of two files.
func (v *validators) stripRange(h http.Header) {
	if first(h, "Range") == "" || first(h, "If-Range") == "" {
		return
	}
	switch v.ifRange(first(h, "If-Range")) {
	case yes:
		delete(h, "If-Range")
	case no:
		delete(h, "If-Range")
		delete(h, "Range")
	}
}

// conditionFields are the header fields that make the answer to a GET depend on
// the client's copy.
var conditionFields = []string{"If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since", "Range"}

// conditional reports whether a request has one of these fields.
func conditional(h http.Header) bool {
	for _, name := range conditionFields {
		if h[name] != nil {
			return true
		}
	}
	return false
}

// named reports whether a client names a representation by its tag.
func named(h http.Header) bool {
	return h["If-Match"] != nil || h["If-None-Match"] != nil || h["If-Range"] != nil
}

// named reports whether the client names the representation by its tag.
func (v *validators) named(h http.Header) bool {
	if v.etag == "" {
		return false
	}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Range"} {
		list := fieldValue(h, name)
		if list == v.etag {
			return true // the usual form
		}
		for tag := range tags(list) {
			if weakMatch(tag, v.etag) {
				return true
			}
		}
	}
	return false
}

// decidedByDate reports whether the date decides that a request gets no
// content, whatever the tag of the representation is: all representations of a
// file have its date. A client that knows a tag would have sent it (RFC 9111,
// section 4.3.1).
func (v *validators) decidedByDate(h http.Header) bool {
	untagged := *v
	untagged.etag = ""
	d := untagged.check(h)
	return d == notModified || d == failed
}

// ternary is yes, no, or unknown.
type ternary uint8

const (
	unknown ternary = iota
	yes
	no
)

func ternaryOf(b bool) ternary {
	if b {
		return yes
	}
	return no
}

// in reports whether a list of entity tags, or *, includes the
// representation's.
func (v *validators) in(list string, match func(a, b string) bool) ternary {
	if list == v.etag && match(list, v.etag) {
		return yes // a list of one
	}
	for tag := range tags(list) {
		if tag == "*" || v.etag != "" && match(tag, v.etag) {
			return yes
		}
	}
	if v.etag == "" {
		return unknown
	}
	return no
}

// ifRange reports whether a validator in If-Range is that of the representation
// (RFC 9110, section 13.1.5).
func (v *validators) ifRange(value string) ternary {
	if tag, _ := scanTag(value); tag != "" {
		if v.etag == "" {
			return unknown
		}
		return ternaryOf(strongMatch(tag, v.etag))
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return no
	}
	if v.modified.IsZero() {
		return unknown
	}
	return ternaryOf(at.Unix() == v.modified.Unix())
}

// modifiedAfter compares in seconds, the precision of dates in headers.
func (v *validators) modifiedAfter(at time.Time) bool {
	return v.modified.Unix() > at.Unix()
}

// fieldValue joins a list-based field into one value (RFC 9110, section 5.3).
func fieldValue(h http.Header, name string) string {
	values := h[name]
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, ", ")
}

// first is the first value of a field. name is its canonical form.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// date reads a date; most clients repeat it as they received it. ok is false if
// the field is missing or invalid, in which case it is ignored.
func (v *validators) date(h http.Header, name string) (at time.Time, ok bool) {
	value := first(h, name)
	switch value {
	case "":
		return at, false
	case v.lastModified:
		return v.modified, true
	}
	at, err := http.ParseTime(value)
	return at, err == nil
}

// tags yields the entity tags of a list, and * where it stands for one, up to
// the first thing that is neither.
func tags(list string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for {
			list = strings.TrimLeft(list, " \t,")
			if strings.HasPrefix(list, "*") {
				yield("*")
				return
			}
			tag, rest := scanTag(list)
			if tag == "" || !yield(tag) {
				return
			}
			list = rest
		}
	}
}

// scanTag splits a valid entity tag off the beginning of s (RFC 9110, section
// 8.8.3); the tag is empty where there is none.
func scanTag(s string) (tag, rest string) {
	s = textproto.TrimString(s)
	opaque := strings.TrimPrefix(s, "W/")
	if !strings.HasPrefix(opaque, `"`) {
		return "", ""
	}
	end := strings.IndexByte(opaque[1:], '"')
	if end < 0 || !tagChars(opaque[1:1+end]) {
		return "", ""
	}
	size := len(s) - len(opaque) + end + 2
	return s[:size], s[size:]
}

// tagChars reports whether s may stand between the quotes of an entity tag.
func tagChars(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}

func strongMatch(a, b string) bool { return a == b && strings.HasPrefix(a, `"`) }

func weakMatch(a, b string) bool {
	return strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}
