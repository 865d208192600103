// Versions of tags. A copy of a record with tags is served only while the
// versions that the record was read with are current. Each version is one
// object that all copies with the tag share. So dropping a tag costs one write,
// however many copies bear it, and a hit costs one atomic read per tag.

package near

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Version is one version of a tag. It is current until it ends.
type Version struct {
	text  string
	ended atomic.Bool
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

// Text is the text of the version that records with the tag have.
func (v *Version) Text() string { return v.text }

// End makes the version no longer current.
func (v *Version) End() { v.ended.Store(true) }

// Ended reports whether the version is no longer current, or may not be.
func (v *Version) Ended() bool { return v.ended.Load() }

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
	// versionOverhead is the size of a version besides its key and text, in bytes.
	versionOverhead = 150
)

// newVersions returns an empty table of versions by key. A version that is
// evicted from the table ends, because changes to it could not be reported any
// more.
func newVersions(maxSize int64) *otter.Cache[string, *Version] {
	return otter.Must(&otter.Options[string, *Version]{
		MaximumWeight: uint64(max(maxSize/versionShare, 1)),
		Weigher: func(key string, v *Version) uint32 {
			return uint32(len(key) + len(v.text) + versionOverhead)
		},
		OnAtomicDeletion: func(e otter.DeletionEvent[string, *Version]) { e.Value.End() },
	})
}

// Version returns the version under a key without reading the store. ok is
// false where writes to the key are not reported.
func (c *Cache[R]) Version(key string, now time.Time) (*Version, bool) {
	g := c.generation.Load()
	if !c.serves(g, true, now) {
		return nil, false
	}
	v, ok := g.versions.GetIfPresent(key)
	return v, ok && !v.Ended()
}

// VersionTicket is needed to keep a version that is read after the ticket was
// drawn.
type VersionTicket struct {
	key      string
	versions *otter.Cache[string, *Version]
	written  *atomic.Uint64 // counts the writes told of
	seen     uint64
}

// BeginVersion draws a ticket. It must be called before the store is read.
func (c *Cache[R]) BeginVersion(key string) VersionTicket {
	g := c.generation.Load()
	if !g.tagged.Load() {
		g.tagged.Store(true)
	}
	written := g.stripe(c, key)
	return VersionTicket{key: key, versions: g.versions, written: written, seen: written.Load()}
}

// Keep returns the version that the store has, as one object for all readers.
// The version has already ended if the key was written since the ticket was
// drawn, or if writes are not reported.
func (t VersionTicket) Keep(text string) *Version {
	if t.versions == nil {
		return EndedVersion(text)
	}
	kept, ok := t.versions.Compute(t.key, func(old *Version, found bool) (*Version, otter.ComputeOp) {
		switch {
		case found && old.text == text && !old.Ended():
			return old, otter.CancelOp
		case found:
			t.written.Add(1) // one of the two is out of date
			return old, otter.InvalidateOp
		case t.written.Load() != t.seen:
			return old, otter.CancelOp
		}
		return NewVersion(text), otter.WriteOp
	})
	if !ok || kept.text != text {
		return EndedVersion(text)
	}
	return kept
}
