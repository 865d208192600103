// How copies are kept: only of what was read before any later write.

package near

import "time"

// Ticket is needed to keep a copy of what is read after the ticket was drawn.
type Ticket[T any, R Record[T]] struct {
	cache      *Cache[T, R]
	generation *generation[T, R]
	key        string
	hash       uint64 // of key
	strict     bool
	// the counts of the key's stripe when the ticket was drawn
	written, absent uint64
}

// Begin draws a ticket. It must be called before the store is read.
func (c *Cache[T, R]) Begin(key string, strict bool) Ticket[T, R] {
	g, hash := c.generation.Load(), c.hash(key)
	stripe := g.stripe(hash)
	return Ticket[T, R]{
		cache: c, generation: g, key: key, hash: hash, strict: strict,
		written: stripe.written.Load(), absent: stripe.absent.Load(),
	}
}

// Keep keeps a copy of the store's answer, unless the key was written or the
// trust changed since the ticket was drawn. An answer without a record says
// that the store has none.
//
// Keep also corrects the copies for stale use: a copy that differs from the
// answer is dropped, whether or not the answer itself may be kept.
//
// If there is a copy with another text, which another reader has kept, one of
// the two is out of date, and this process cannot know which until the store
// reports the write. Then neither is kept, so that a client never sees an older
// record after a newer one.
func (t Ticket[T, R]) Keep(e Copy[T], now time.Time) {
	g := t.generation
	if g == nil {
		return
	}
	t.dropStale(e.Record)
	if current := t.cache.generation.Load(); current != g && current.copies != nil {
		t.doubt(current, e.Record)
	}
	if g.copies == nil {
		return
	}
	stripe := g.stripe(t.hash)
	if e.Record == nil {
		stripe.absent.Add(1) // other readers may be about to keep what was deleted
	}
	version := together(e.Versions)
	mayKeep := (!t.strict || g.trust == Coherent) && !version.Ended()
	// An invalidation first counts and then drops the copy, under the same lock as
	// this function. So it is either noticed here, or it drops the copy that is
	// kept here. The same holds for a reader that finds no record.
	g.copies.update(t.hash, t.key, func(old R) R {
		switch {
		case old != nil && !same(old, e.Record):
			stripe.written.Add(1) // other readers may be about to keep either of the two
			return nil
		case e.Record == nil, !mayKeep, stripe.written.Load() != t.written, stripe.absent.Load() != t.absent:
			return old
		}
		return t.copyOf(e, now.Add(t.lifetime(e, now)).UnixNano(), version)
	})
}

// copyOf returns a copy of a record to be kept.
func (t Ticket[T, R]) copyOf(e Copy[T], until int64, version *Version) R {
	kept := R(R(e.Record).WithKey(t.key, version, e.Memos))
	s := kept.Slot()
	s.expires = e.Expires
	s.until.Store(until)
	return kept
}

// same reports whether a copy has the text of a record that the store or the
// source has answered. It is false if answered is nil.
func same[T any, R Record[T]](old, answered R) bool {
	return answered != nil && old.Text() == answered.Text()
}

// dropStale drops the copy for stale use if it differs from what the store or
// the source has just answered.
func (t Ticket[T, R]) dropStale(answered R) {
	if g := t.cache.staleGeneration.Load(); g != nil {
		g.copies.update(t.hash, t.key, func(old R) R {
			if old == nil || same(old, answered) {
				return old
			}
			return nil
		})
	}
}

// doubt drops the copy in a generation if it differs from what was answered: one
// of the two is out of date.
func (t Ticket[T, R]) doubt(g *generation[T, R], answered R) (dropped bool) {
	g.copies.update(t.hash, t.key, func(old R) R {
		if old == nil || same(old, answered) {
			return old
		}
		g.stripe(t.hash).written.Add(1) // other readers may be about to keep either of the two
		dropped = true
		return nil
	})
	return dropped
}

// Correct corrects the copies of the key after an answer of the source that the
// store does not have: a copy that differs is dropped, and the answer replaces
// the copy for stale use. An answer without a record says that there is none,
// or that it may not be kept. If the key was written or the trust changed since
// the ticket was drawn, copies are only dropped.
//
// The ticket must be drawn before the source is asked.
func (t Ticket[T, R]) Correct(answered R, now time.Time) {
	c := t.cache
	if c == nil {
		return
	}
	g, stale := c.generation.Load(), c.staleGeneration.Load()
	overtaken := func() bool {
		return c.generation.Load() != t.generation || t.generation.stripe(t.hash).written.Load() != t.written
	}
	if overtaken() {
		answered = nil
	}
	if g.copies != nil && t.doubt(g, answered) {
		t.written++
	}
	if stale == nil {
		return
	}
	at := now.UnixNano()
	// An invalidation that is not noticed in this function waits for its lock and then
	// drops the copy, also if trust has changed by then.
	stale.copies.update(t.hash, t.key, func(R) R {
		if answered == nil || overtaken() {
			return nil
		}
		return t.copyOf(Copy[T]{Record: answered, Expires: at}, at, nil)
	})
}

// longest is the longest time that copies may be served under a trust.
func (c *Cache[T, R]) longest(trust Trust) time.Duration {
	if trust == Brief {
		return min(c.options.TTL, BriefTTL)
	}
	return c.options.TTL
}

// lifetime is how long a copy may be served.
func (t Ticket[T, R]) lifetime(e Copy[T], now time.Time) time.Duration {
	ttl := t.cache.longest(t.generation.trust)
	if e.Expires != 0 {
		ttl = min(ttl, time.Duration(e.Expires-now.UnixNano()))
	}
	return ttl
}
