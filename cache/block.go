// How records lie in memory. A near copy is one object: the record, its text and
// its key, without pointers where it can. So of a million copies the garbage
// collector marks a million objects and looks into none, and a hit reads one place
// in memory.

package cache

import (
	"sync/atomic"
	"unsafe"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

// form is how a record lies in memory.
type form uint8

const (
	bare     form = iota // alone: it has no text
	inlined              // its text and its key follow it
	linked               // it begins a linkedRecord, which its text and its key follow
	outlined             // it begins an outline
)

// linkedRecord is a record with what only some have.
type linkedRecord struct {
	Record
	memo    atomic.Pointer[memo] // nil where nothing is kept with the record yet
	version *near.Version        // of the tags of a near copy
	bears   atomic.Uint64        // the tagsID of the last lookup that found all its tags here
}

// outline is a record whose text is a separate string.
type outline struct {
	linkedRecord
	text string
	key  string
	tags []RecordTag
}

const (
	recordSize = int(unsafe.Sizeof(Record{}))
	linkedSize = int(unsafe.Sizeof(linkedRecord{}))
)

func newRecord(text string) *Record {
	o := &outline{text: text}
	o.form = outlined
	return &o.Record
}

// outline is valid where form is outlined.
func (r *Record) outline() *outline { return (*outline)(unsafe.Pointer(r)) }

// links returns the linkedRecord that begins with the record, or nil where the form
// has none.
func (r *Record) links() *linkedRecord {
	if r.form == linked || r.form == outlined {
		return (*linkedRecord)(unsafe.Pointer(r))
	}
	return nil
}

// tail returns a part of the text and the key that follow a record.
func (r *Record) tail(from, size int) string {
	if size == 0 {
		return ""
	}
	if from += recordSize; r.form == linked {
		from += linkedSize - recordSize
	}
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(r), from)), size)
}

// Text is the JSON text of the record as it is stored, reserved fields included.
func (r *Record) Text() string {
	if r.form == outlined {
		return r.outline().text
	}
	return r.tail(0, int(r.textSize))
}

// Key is the key under which a near copy is kept; "" for any other record.
func (r *Record) Key() string {
	if r.form == outlined {
		return r.outline().key
	}
	return r.tail(int(r.textSize), int(r.keySize))
}

// Slot is the part of the record that the near cache uses.
func (r *Record) Slot() *near.Slot { return &r.slot }

// Version is that of the tags of a near copy; nil where it has none.
func (r *Record) Version() *near.Version {
	if l := r.links(); l != nil {
		return l.version
	}
	return nil
}

// WithKey returns a near copy of the record. With memos, it has room for a memo.
func (r *Record) WithKey(key string, version *near.Version, memos bool) *Record {
	text, m := r.Text(), r.memory()
	size := len(text) + len(key)
	var kept *Record
	switch plain := version == nil && m == nil && !memos; {
	case size > longestTail:
		kept = newRecord(text)
		kept.outline().key, kept.outline().tags = key, r.Tags()
	case plain:
		kept = newTailed[Record](size)
		kept.form = inlined
	default:
		kept = &newTailed[linkedRecord](size).Record
		kept.form = linked
	}
	if kept.form != outlined {
		kept.textSize, kept.keySize = uint16(len(text)), uint16(len(key))
		tail := unsafe.Slice(unsafe.StringData(kept.tail(0, size)), size)
		copy(tail[copy(tail, text):], key)
	}
	if l := kept.links(); l != nil {
		l.version = version
		l.memo.Store(m)
	}
	kept.describe(r)
	return kept
}

// memory is what is kept with the record, or nil.
func (r *Record) memory() *memo {
	if l := r.links(); l != nil {
		return l.memo.Load()
	}
	return nil
}

// withText returns the record with another text. The fields that were read from the
// old text must have the same values in the new one.
func (r *Record) withText(text string) *Record {
	changed := newRecord(text)
	changed.describe(r)
	changed.outline().tags = r.Tags()
	if m := r.memory(); m != nil && m.value != nil {
		changed.links().memo.Store(&memo{value: m.value, size: m.size}) // without the places in the other text
	}
	return changed
}

// describe copies what was read from the text of another record.
func (r *Record) describe(other *Record) {
	r.expires, r.sourceID, r.ttl = other.expires, other.sourceID, other.ttl
	r.state, r.status, r.origin, r.tagged = other.state, other.status, other.origin, other.tagged
}

// longestTail is the longest text and key that follow a record, in bytes together.
// Larger objects need a header of the garbage collector; there are seldom many.
const longestTail = 440

// tailed is a record with a tail.
type tailed[R, T any] struct {
	record R
	_      T
}

func newOf[R, T any]() *R { return &new(tailed[R, T]).record }

// newTailed returns a record with room for a tail. The rooms are the sizes that the
// allocator has, so that no memory is wasted.
func newTailed[R any](size int) *R {
	switch {
	case size <= 24:
		return newOf[R, [24]byte]()
	case size <= 40:
		return newOf[R, [40]byte]()
	case size <= 56:
		return newOf[R, [56]byte]()
	case size <= 72:
		return newOf[R, [72]byte]()
	case size <= 88:
		return newOf[R, [88]byte]()
	case size <= 104:
		return newOf[R, [104]byte]()
	case size <= 120:
		return newOf[R, [120]byte]()
	case size <= 136:
		return newOf[R, [136]byte]()
	case size <= 152:
		return newOf[R, [152]byte]()
	case size <= 168:
		return newOf[R, [168]byte]()
	case size <= 184:
		return newOf[R, [184]byte]()
	case size <= 200:
		return newOf[R, [200]byte]()
	case size <= 232:
		return newOf[R, [232]byte]()
	case size <= 264:
		return newOf[R, [264]byte]()
	case size <= 296:
		return newOf[R, [296]byte]()
	case size <= 328:
		return newOf[R, [328]byte]()
	case size <= 360:
		return newOf[R, [360]byte]()
	case size <= 392:
		return newOf[R, [392]byte]()
	case size <= 424:
		return newOf[R, [424]byte]()
	}
	return newOf[R, [longestTail]byte]()
}

// Memory is the size of the record with its text, its key, its memo and its share of
// versions, in bytes.
func (r *Record) Memory() int {
	size := tailSize(int(r.textSize) + int(r.keySize))
	switch r.form {
	case inlined:
		size = rounded(recordSize + size)
	case linked:
		size = rounded(linkedSize + size)
	case bare:
		size = recordSize
	default:
		o := r.outline()
		size = rounded(int(unsafe.Sizeof(*o))) + rounded(len(o.text)) + rounded(len(o.key)) + len(o.tags)*int(unsafe.Sizeof(RecordTag{}))
	}
	size += r.Version().Own()
	if m := r.memory(); m != nil {
		size += rounded(int(unsafe.Sizeof(memo{}))) + rounded(len(m.places)*placeSize) + m.size
	}
	return size
}

// tailSize is the size of the tail that newTailed makes.
func tailSize(size int) int {
	if size <= 200 {
		return max((size+7)&^15+8, 24)
	}
	return min((size+23)&^31+8, longestTail)
}

// rounded estimates what the allocator uses for an object of a size. Its sizes grow
// by 16 bytes up to 256, by 32 up to 512, by 64 up to 768, and then by an eighth or
// less.
func rounded(size int) int {
	switch {
	case size <= 256:
		return (size + 15) &^ 15
	case size <= 512:
		return (size + 31) &^ 31
	case size <= 768:
		return (size + 63) &^ 63
	}
	return size + size/24
}
