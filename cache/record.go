package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

// ErrInvalidRecord says that a value is no record: it is neither a JSON object
// nor null, or it is larger than the limit. A lookup that finds such a value
// ends in an error.
var ErrInvalidRecord = errors.New("invalid record")

// DefaultMaxValueSize is the largest record, in bytes of JSON text, that is
// read or written where nothing else is configured.
const DefaultMaxValueSize = 1 << 20

// State is what a record says about its identity.
type State uint8

const (
	// Found is a record with fields: {"name": "document.pdf"}.
	Found State = iota
	// Absent is a record like null or {"absent": true}: the identity is known
	// not to exist.
	Absent
	// Denied is a record like {"denied": 403}: the identity is known to be refused.
	Denied
)

// Record is a JSON object, kept as the text it was stored as, or null. It is
// immutable and shared between goroutines.
//
// It has no pointers, so that the garbage collector need not look into near
// copies. block.go says where the rest is.
type Record struct {
	slot near.Slot // of a near copy
	// expires is the record's expires_at in nanoseconds of Unix time: 0 where
	// it has none, unreadableExpiry where it is not a time.
	expires int64
	// sourceID is the fingerprint of the question, where origin is originSource, and
	// the hash of the decoder's ID, where it is originDecoded.
	sourceID uint64
	// ttl is what the record was stored for, in milliseconds, where that is less than
	// the TTL of the lookup that stored it; else 0.
	ttl               uint32
	textSize, keySize uint16 // where form is not outlined
	// bears is the tagsID of the last lookup that found all its tags here; 0: none did.
	bears   atomic.Uint32
	verdict verdict
	origin  origin
	form    form
	tagged  bool // whether it has tags
}

// verdict is the state of a record and, in one byte with it, the status of a refusal:
// verdictDenied + status - lowestDenied.
type verdict uint8

const (
	verdictFound verdict = iota
	verdictAbsent
	verdictDenied
)

// The statuses of refusals are those of errors.
const lowestDenied, highestDenied = 400, 599

// deniedWith is the verdict of a refusal. A status that is not one of an error counts
// as 403.
func deniedWith(status int64) verdict {
	if status < lowestDenied || status > highestDenied {
		status = 403
	}
	return verdictDenied + verdict(status-lowestDenied)
}

// memo is what is kept with a record besides its text. It is immutable.
type memo struct {
	value  any     // what a reader has derived; see [Record.Memo]
	size   int     // of value, in bytes
	places []place // the index of values; see [Paths]
}

// AbsentRecord returns the record null.
func AbsentRecord() *Record {
	r := newRecord("null")
	r.verdict = verdictAbsent
	return r
}

// DeniedRecord returns the record {"denied": status}. A status that is not one of an
// error counts as 403.
func DeniedRecord(status int) *Record {
	r := newRecord(`{"denied":` + strconv.Itoa(status) + `}`)
	r.verdict = deniedWith(int64(status))
	return r
}

// Decode reads the JSON text of a record of at most maxSize bytes. Every error
// wraps [ErrInvalidRecord] and repeats nothing of the text, which may hold
// secrets.
func Decode(text string, maxSize int) (*Record, error) {
	if len(text) > maxSize {
		return nil, fmt.Errorf("%w: value is larger than %d bytes", ErrInvalidRecord, maxSize)
	}
	trimmed := strings.TrimLeft(text, " \t\r\n")
	switch {
	case trimmed == "":
		return nil, fmt.Errorf("%w: value is empty, want a JSON object or null", ErrInvalidRecord)
	case trimmed[0] != '{' && trimmed[0] != 'n':
		return nil, fmt.Errorf("%w: value is not a JSON object or null", ErrInvalidRecord)
	case !utf8.ValidString(text):
		return nil, fmt.Errorf("%w: value is not valid UTF-8", ErrInvalidRecord)
	case !validJSON(text):
		return nil, fmt.Errorf("%w: value is not valid JSON", ErrInvalidRecord)
	}
	if trimmed[0] == 'n' {
		r := newRecord(text)
		r.verdict = verdictAbsent
		return r, nil
	}
	r := newRecord(text)
	// Most records lack most of these fields. A name with an escaped letter in it is
	// found by reading the fields alone.
	escaped := strings.Contains(text, escapedLetter)
	mayHave := func(field string) bool { return escaped || strings.Contains(text, field) }
	r.verdict = readVerdict(text)
	if mayHave(DefaultExpiryField) {
		r.expires = expiry(r, DefaultExpiryField, AnyTime)
	}
	if mayHave(sourceField) {
		r.origin, r.sourceID = readOrigin(text)
	}
	if mayHave(ttlField) {
		r.ttl = milliseconds(readTTL(text))
	}
	if mayHave(tagsField) {
		r.setTags(readTags(text))
	}
	return r, nil
}

// The fields that turn a record into an absence or a refusal, unless they are false
// or null.
const (
	absentField = "absent"
	deniedField = "denied"
)

// readVerdict returns what a JSON object says about its identity: found, absent or
// refused. It fails closed: the names of the fields count in any case, and if a name
// occurs more than once, each of them counts.
func readVerdict(text string) (v verdict) {
	if !mayRefuse(text) {
		return verdictFound
	}
	eachField(text, func(f objectField) {
		name := f.name()
		switch value := (Value{gjson.Parse(f.value)}); {
		case value.isFalseOrNull():
		case strings.EqualFold(name, deniedField) && v < verdictDenied:
			v = deniedVerdict(value)
		case strings.EqualFold(name, absentField) && v == verdictFound:
			v = verdictAbsent
		}
	})
	return v
}

// escapedLetter begins the only escapes of JSON that can stand for a letter or for
// another character of the names that are looked for.
const escapedLetter = `\u`

// mayRefuse returns false only where no field has the name absent or denied, in
// any case.
func mayRefuse(text string) bool {
	// a name may have escapes, and the long s is an s in another case
	if strings.Contains(text, escapedLetter) || strings.Contains(text, "ſ") {
		return true
	}
	for quote := strings.IndexByte(text, '"'); quote >= 0; {
		text = text[quote+1:]
		const length = len(absentField) // and of denied
		if len(text) > length && text[length] == '"' &&
			(strings.EqualFold(text[:length], absentField) || strings.EqualFold(text[:length], deniedField)) {
			return true
		}
		quote = strings.IndexByte(text, '"')
	}
	return false
}

// isFalseOrNull reports whether a value turns its field off. Any other value leaves
// it on: a record that cannot be read permits nothing.
func (v Value) isFalseOrNull() bool { return v.JSON() == "false" || v.JSON() == "null" }

// deniedVerdict is the verdict of a refusal with this value.
func deniedVerdict(v Value) verdict {
	status, _ := v.Int()
	return deniedWith(status)
}

// Encode makes a record of v, which must marshal to a JSON object or null.
func Encode(v any, maxSize int) (*Record, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding record: %w", err)
	}
	return Decode(string(text), maxSize)
}

// State is what the record says: found, absent or denied.
func (r *Record) State() State { return State(min(r.verdict, verdictDenied)) }

// DeniedStatus is the HTTP status of a [Denied] record, else 0.
func (r *Record) DeniedStatus() int {
	if r.verdict < verdictDenied {
		return 0
	}
	return int(r.verdict-verdictDenied) + lowestDenied
}

// Empty reports whether the record has no fields besides reserved ones.
func (r *Record) Empty() bool {
	text := r.Text()
	empty := r.verdict != verdictFound || strings.HasPrefix(strings.TrimLeft(text, blanks), "{")
	eachField(text, func(f objectField) {
		empty = empty && strings.HasPrefix(f.name(), ReservedPrefix)
	})
	return empty
}

// Size is the length of the record's JSON text in bytes.
func (r *Record) Size() int { return len(r.Text()) }

// Field finds the value at a path whose dots descend into objects, and into
// arrays by index: "user.roles.0". A dot that belongs to a name has a backslash
// before it: `warden\.user.key`. If a name occurs more than once in an object, the
// last one counts, as in encoding/json and Python's json. Reserved fields, which
// begin with [ReservedPrefix], are not found. Records that a [Decoder] has read have
// no reserved fields.
func (r *Record) Field(path string) (Value, bool) {
	if r.origin != originDecoded && strings.HasPrefix(path, ReservedPrefix) {
		return Value{}, false
	}
	text := r.Text()
	return ParseValue(descend(text[skipBlanks(text, 0):], path))
}

// cutPath cuts a path at its first dot that does not belong to a name.
func cutPath(path string) (name, rest string, more bool) {
	for from := 0; ; {
		dot := strings.IndexByte(path[from:], '.')
		if dot < 0 {
			return strings.ReplaceAll(path, `\.`, "."), "", false
		}
		if dot += from; dot == 0 || path[dot-1] != '\\' {
			return strings.ReplaceAll(path[:dot], `\.`, "."), path[dot+1:], true
		}
		from = dot + 1
	}
}

// unixNano is a time in nanoseconds of Unix time, or the nearest that an int64 can
// hold. It never returns 0, which means never.
func unixNano(at time.Time) int64 {
	switch {
	case at.Before(time.Unix(0, 1)):
		return 1
	case at.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return at.UnixNano()
}

// Memo returns the value last given to [Record.SetMemo], or nil. A reader keeps
// there what it derived from the record, so that the next hit need not derive
// it again. The reader must check the type: a record may have other readers.
func (r *Record) Memo() any {
	if m := r.memory(); m != nil {
		return m.value
	}
	return nil
}

// SetMemo keeps a value that a reader derived from the record. It must be
// immutable and no larger than a small multiple of the record. size is the memory
// that it takes, in bytes. A small near copy keeps a value only if a lookup with
// [LookupOptions].Memos has read the record.
func (r *Record) SetMemo(v any, size int) {
	for {
		if r.setMemo(r.memory(), func(m *memo) { m.value, m.size = v, size }) {
			return
		}
	}
}

// setMemo replaces what is kept by a changed copy, unless another reader has
// replaced it already.
func (r *Record) setMemo(old *memo, change func(*memo)) bool {
	l := r.links()
	if l == nil {
		return true
	}
	changed := new(memo)
	if old != nil {
		*changed = *old
	}
	change(changed)
	return l.memo.CompareAndSwap(old, changed)
}

// Value is one value inside a record.
type Value struct{ v gjson.Result }

// Text is a string without its quotes, "" for null, and the JSON text of
// anything else.
func (v Value) Text() string {
	switch v.v.Type {
	case gjson.String:
		return v.v.Str
	case gjson.Null:
		return ""
	}
	return v.v.Raw // not gjson's String, which rewrites numbers
}

// JSON is the value's JSON text.
func (v Value) JSON() string { return v.v.Raw }

// IsNull reports whether the value is null.
func (v Value) IsNull() bool { return v.v.Type == gjson.Null }

// IsString reports whether the value is a JSON string.
func (v Value) IsString() bool { return v.v.Type == gjson.String }

// IsScalar reports whether the value is a string, a number or a boolean.
func (v Value) IsScalar() bool {
	return v.v.Type != gjson.JSON && v.v.Type != gjson.Null
}

// IsArrayOfScalars reports whether the value is an array whose items are
// all strings, numbers or booleans.
func (v Value) IsArrayOfScalars() bool {
	all := v.v.IsArray()
	if all {
		v.v.ForEach(func(_, item gjson.Result) bool {
			all = Value{item}.IsScalar()
			return all
		})
	}
	return all
}

// Int is the value as a whole number, where it is one.
func (v Value) Int() (n int64, ok bool) {
	if v.v.Type != gjson.Number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.v.Raw, 10, 64)
	return n, err == nil
}

// Time is the value as a point in time: a number of Unix seconds (fractions
// allowed, also as a string) or an RFC 3339 string.
func (v Value) Time() (at time.Time, ok bool) { return v.timeIn(AnyTime) }

// Truthy reports whether the value is neither null, false, 0, "" nor an empty
// array or object.
func (v Value) Truthy() bool {
	switch {
	case v.IsString():
		return v.v.Str != ""
	case v.v.Type == gjson.Number:
		n, err := strconv.ParseFloat(v.v.Raw, 64)
		return err == nil && n != 0
	case v.v.Type == gjson.JSON:
		some := false
		v.v.ForEach(func(_, _ gjson.Result) bool {
			some = true
			return false
		})
		return some
	}
	return v.v.Type == gjson.True
}

// asciiSpaces separate the words of a string. Other spaces of Unicode do not.
const asciiSpaces = " \t\n\v\f\r"

// Strings lists the words of a value: the scalars of an array, the words of a
// string, which are split at ASCII spaces, or the scalar itself.
func (v Value) Strings() []string {
	var words []string
	v.EachString(func(word string) bool {
		words = append(words, word)
		return true
	})
	return words
}

// EachString calls yield for each of [Value.Strings], until yield returns false.
// It allocates only for texts with escapes.
func (v Value) EachString(yield func(word string) bool) {
	switch {
	case v.v.IsArray():
		v.v.ForEach(func(_, item gjson.Result) bool {
			scalar := Value{item}
			return !scalar.IsScalar() || yield(scalar.Text())
		})
	case v.IsString():
		for word := range strings.FieldsFuncSeq(v.v.Str, func(c rune) bool { return strings.ContainsRune(asciiSpaces, c) }) {
			if !yield(word) {
				return
			}
		}
	case v.IsScalar():
		yield(v.Text())
	}
}
