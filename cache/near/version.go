// Versions of tags. A copy of a record with tags is served only while the
// versions that the record was read with are current. Each version is one
// object that all copies with the tag share. So dropping a tag costs one write,
// however many copies bear it, and a hit costs one atomic read per tag.

package near

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"
)

// Version is one version of a tag. It is current until it ends.
type Version struct {
	slot  Slot
	text  string
	key   string // of the tag
	ended atomic.Bool
	all   []*Version // what this one stands for; see together
}

// NewVersion returns a version that is current.
func NewVersion(text string) *Version { return &Version{text: text} }

// EndedVersion returns a version that is not current. A record with it is not
// copied.
func EndedVersion(text string) *Version {
	v := &Version{text: text}
	v.End()
	return v
}

// together returns one version that is current while all of them are: nil for
// none.
func together(versions []*Version) *Version {
	switch len(versions) {
	case 0:
		return nil
	case 1:
		return versions[0]
	}
	return &Version{all: versions}
}

// Text is the text of the version that records with the tag have.
func (v *Version) Text() string { return v.text }

// Key is the key of the tag.
func (v *Version) Key() string { return v.key }

// Slot is for the table of versions.
func (v *Version) Slot() *Slot { return &v.slot }

// Memory is the size of the version with its key and text, in bytes.
func (v *Version) Memory() int {
	return int(unsafe.Sizeof(*v)) + len(v.key) + len(v.text) + versionRounding
}

// Own is the memory that each copy with the version takes for it, in bytes. It is 0
// for a single version, which all copies share.
func (v *Version) Own() int {
	if v == nil || v.all == nil {
		return 0
	}
	return int(unsafe.Sizeof(*v)+unsafe.Sizeof(v)*uintptr(len(v.all))) + versionRounding
}

// End makes the version no longer current.
func (v *Version) End() { v.ended.Store(true) }

// Ended reports whether the version is no longer current, or may not be. It is false
// for nil.
func (v *Version) Ended() bool {
	return v != nil && (v.ended.Load() || v.all != nil && !Current(v.all))
}

// Current reports whether none of the versions has ended.
func Current(versions []*Version) bool {
	for _, v := range versions {
		if v.ended.Load() {
			return false
		}
	}
	return true
}

const (
	// versionShare is the part of [Options.MaxSize], a quarter, that versions may
	// take in addition to the copies.
	versionShare = 4
	// versionRounding is what the allocator adds to a version, its key and its text,
	// in bytes.
	versionRounding = 16
)

// newVersions returns an empty table of versions by key. A version that leaves
// the table ends, because changes to it could not be reported any more.
func newVersions(hash func(key string) uint64, maxSize int64) *table[Version, *Version] {
	return newTable(hash, max(maxSize/versionShare, 1), func(v *Version, _ bool) { v.End() })
}

// Version returns the version under a key without reading the store. ok is
// false where writes to the key are not reported.
func (c *Cache[T, R]) Version(key string, now time.Time) (*Version, bool) {
	g := c.generation.Load()
	if !c.serves(g, true, now) {
		return nil, false
	}
	hash := c.hash(key)
	v := g.versions.get(hash, key)
	if v == nil || v.Ended() {
		return nil, false
	}
	g.versions.used(hash, v)
	return v, true
}

// VersionTicket is needed to keep a version that is read after the ticket was
// drawn.
type VersionTicket struct {
	key      string
	hash     uint64 // of key
	versions *table[Version, *Version]
	counter  *atomic.Uint64 // of reported writes
	written  uint64         // the counter when the ticket was drawn
}

// BeginVersion draws a ticket. It must be called before the store is read.
func (c *Cache[T, R]) BeginVersion(key string) VersionTicket {
	g, hash := c.generation.Load(), c.hash(key)
	if !g.tagged.Load() {
		g.tagged.Store(true)
	}
	counter := &g.stripe(hash).written
	return VersionTicket{key: key, hash: hash, versions: g.versions, counter: counter, written: counter.Load()}
}

// Keep returns the version that the store has, as one object for all readers.
// The version has already ended if the key was written since the ticket was
// drawn, or if writes are not reported.
func (t VersionTicket) Keep(text string) *Version {
	if t.versions == nil {
		return EndedVersion(text)
	}
	var kept *Version
	t.versions.update(t.hash, t.key, func(old *Version) *Version {
		switch {
		case old != nil && old.text == text && !old.Ended():
			kept = old
		case old != nil:
			t.counter.Add(1) // one of the two is out of date
			return nil
		case t.counter.Load() == t.written:
			kept = &Version{text: text, key: t.key}
			kept.slot.until.Store(math.MaxInt64)
		}
		return kept
	})
	if kept == nil {
		return EndedVersion(text)
	}
	return kept
}
