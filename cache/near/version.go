// Versions of tags. A copy of a record that bears tags is served only while
// the versions it was read with are current. Each version is one object that
// all copies with the tag share, so a dropped tag costs one write, however many
// copies bear it, and a hit costs one atomic read for each tag.

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

// EndedVersion returns a version that is not current. What bears it is not
// copied.
func EndedVersion(text string) *Version {
	v := &Version{text: text}
	v.End()
	return v
}

// Text is what records that bear the version have noted of it.
func (v *Version) Text() string { return v.text }

// End makes the version one that was.
func (v *Version) End() { v.ended.Store(true) }

// Ended reports whether the version is not current any more, or may not be.
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
	// versionShare is the part of [Options.MaxSize] that versions may take
	// beside the copies.
	versionShare = 4
	// versionOverhead is what a version takes beside its key and text.
	versionOverhead = 150
)

// newVersions returns an empty table of versions by key. Whatever leaves the
// table ends: nothing would tell its bearers of a change any more.
func newVersions(maxSize int64) *otter.Cache[string, *Version] {
	return otter.Must(&otter.Options[string, *Version]{
		MaximumWeight: uint64(max(maxSize/versionShare, 1)),
		Weigher: func(key string, v *Version) uint32 {
			return uint32(len(key) + len(v.text) + versionOverhead)
		},
		OnAtomicDeletion: func(e otter.DeletionEvent[string, *Version]) { e.Value.End() },
	})
}

// Version finds the version under a key without asking the store. It finds
// none where writes to the key are not reported.
func (c *Cache[R]) Version(key string, now time.Time) (*Version, bool) {
	g := c.generation.Load()
	if !c.serves(g, true, now) {
		return nil, false
	}
	v, ok := g.versions.GetIfPresent(key)
	return v, ok && !v.Ended()
}

// VersionTicket is the right to keep a version that is read after the ticket
// was drawn.
type VersionTicket struct {
	key      string
	versions *otter.Cache[string, *Version]
	written  *atomic.Uint64 // counts the writes told of
	seen     uint64
}

// BeginVersion draws a ticket. It must come before the store is asked.
func (c *Cache[R]) BeginVersion(key string) VersionTicket {
	g := c.generation.Load()
	written := g.stripe(c, key)
	return VersionTicket{key: key, versions: g.versions, written: written, seen: written.Load()}
}

// Keep returns the version that the store has, one object for all who read it.
// It has ended already where the key was written since the ticket was drawn, or
// where nothing tells of writes.
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
