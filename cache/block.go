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
	bare      form = iota // alone: it has no text
	inlined               // its text and its key follow it
	versioned             // it begins a versionedRecord, which its text and its key follow
	linked                // it begins a linkedRecord, which its text and its key follow
	outlined              // it begins an outline
)

// versionedRecord is a record whose tags have a version.
type versionedRecord struct {
	Record
	version *near.Version // of the tags of a near copy
}

// linkedRecord is a record with all that only some have.
type linkedRecord struct {
	versionedRecord
	memo atomic.Pointer[memo] // nil where nothing is kept with the record yet
}

// outline is a record whose text is a separate string.
type outline struct {
	linkedRecord
	text string
	key  string
	tags []RecordTag
}

const (
	recordSize    = int(unsafe.Sizeof(Record{}))
	versionedSize = int(unsafe.Sizeof(versionedRecord{}))
	linkedSize    = int(unsafe.Sizeof(linkedRecord{}))
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
	if r.form >= linked {
		return (*linkedRecord)(unsafe.Pointer(r))
	}
	return nil
}

// tail returns a part of the text and the key that follow a record.
func (r *Record) tail(from, size int) string {
	if size == 0 {
		return ""
	}
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(r), r.headSize()+from)), size)
}

// headSize is the size of what is before the text in memory.
func (r *Record) headSize() int {
	switch r.form {
	case versioned:
		return versionedSize
	case linked:
		return linkedSize
	}
	return recordSize
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
	if r.form >= versioned {
		return (*versionedRecord)(unsafe.Pointer(r)).version
	}
	return nil
}

// WithKey returns a near copy of the record. With memos, it has room for a memo.
func (r *Record) WithKey(key string, version *near.Version, memos bool) *Record {
	text, m := r.Text(), r.memory()
	size := len(text) + len(key)
	var kept *Record
	switch {
	case size > longestTail:
		kept = newRecord(text)
		kept.outline().key, kept.outline().tags = key, r.Tags()
	case m != nil || memos:
		kept = &newTailed[linkedRecord, [8]byte](size).Record
		kept.form = linked
	case version != nil:
		kept = &newTailed[versionedRecord, [0]byte](size).Record
		kept.form = versioned
	default:
		kept = newTailed[Record, [8]byte](size)
		kept.form = inlined
	}
	if kept.form != outlined {
		kept.textSize, kept.keySize = uint16(len(text)), uint16(len(key))
		tail := unsafe.Slice(unsafe.StringData(kept.tail(0, size)), size)
		copy(tail[copy(tail, text):], key)
	}
	if version != nil {
		(*versionedRecord)(unsafe.Pointer(kept)).version = version
	}
	if m != nil {
		kept.links().memo.Store(m)
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
	r.verdict, r.origin, r.tagged = other.verdict, other.origin, other.tagged
}

// longestTail is the longest text and key that follow a record, in bytes together.
// Larger objects need a header of the garbage collector; there are seldom many.
const longestTail = 432

// tailed is a record with a tail: P and T. The sizes of T are such that the allocator
// has objects of this size for a record with P, so that no memory is wasted.
type tailed[R, P, T any] struct {
	record R
	_      P
	_      T
}

func newOf[R, P, T any]() *R { return &new(tailed[R, P, T]).record }

// newTailed returns a record with room for a tail. P makes the size of R a multiple of
// 16 bytes.
func newTailed[R, P any](size int) *R {
	var padding P
	switch size -= int(unsafe.Sizeof(padding)); {
	case size <= 16:
		return newOf[R, P, [16]byte]()
	case size <= 32:
		return newOf[R, P, [32]byte]()
	case size <= 48:
		return newOf[R, P, [48]byte]()
	case size <= 64:
		return newOf[R, P, [64]byte]()
	case size <= 80:
		return newOf[R, P, [80]byte]()
	case size <= 96:
		return newOf[R, P, [96]byte]()
	case size <= 112:
		return newOf[R, P, [112]byte]()
	case size <= 128:
		return newOf[R, P, [128]byte]()
	case size <= 144:
		return newOf[R, P, [144]byte]()
	case size <= 160:
		return newOf[R, P, [160]byte]()
	case size <= 176:
		return newOf[R, P, [176]byte]()
	case size <= 192:
		return newOf[R, P, [192]byte]()
	case size <= 224:
		return newOf[R, P, [224]byte]()
	case size <= 256:
		return newOf[R, P, [256]byte]()
	case size <= 288:
		return newOf[R, P, [288]byte]()
	case size <= 320:
		return newOf[R, P, [320]byte]()
	case size <= 352:
		return newOf[R, P, [352]byte]()
	case size <= 384:
		return newOf[R, P, [384]byte]()
	case size <= 416:
		return newOf[R, P, [416]byte]()
	}
	return newOf[R, P, [longestTail]byte]()
}

// Memory is the size of the record with its text, its key, its memo and its share of
// versions, in bytes.
func (r *Record) Memory() int {
	var size int
	switch r.form {
	case bare:
		size = recordSize
	case outlined:
		o := r.outline()
		size = rounded(int(unsafe.Sizeof(*o))) + rounded(len(o.text)) + rounded(len(o.key)) + len(o.tags)*int(unsafe.Sizeof(RecordTag{}))
	default:
		size = tailedSize(r.headSize(), int(r.textSize)+int(r.keySize))
	}
	size += r.Version().Own()
	if m := r.memory(); m != nil {
		size += rounded(int(unsafe.Sizeof(memo{}))) + rounded(len(m.places)*placeSize) + m.size
	}
	return size
}

// tailedSize is the size of an object of newTailed, with a head of this size.
func tailedSize(head, tail int) int {
	padded := (head + 15) &^ 15
	tail -= padded - head
	if tail <= 192 {
		return rounded(padded + max(tail+15, 16)&^15)
	}
	return rounded(padded + min((tail+31)&^31, longestTail))
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
