// Package near keeps copies of shared records in this process.
//
// Copies are served only while the watcher of the store (see package redis)
// confirms that every write is reported here. This trust has a deadline, which
// each hit compares with the clock, so that a paused process or a lagging
// connection cannot prolong it. All methods may be called concurrently. Reading
// takes no lock, allocates nothing and does no I/O.
package near

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Trust says what copies may be used for.
type Trust int32

const (
	// None: writes are not reported. No copy is kept or served.
	None Trust = iota
	// Brief: writes are not reported and will not be. Copies live for [BriefTTL],
	// and only lookups that are not strict use them.
	Brief
	// Coherent: every write is reported here.
	Coherent
)

// Sink is the part of the near cache that the watcher of a store uses.
type Sink interface {
	// Invalidate drops the copies of keys that were written.
	Invalidate(keys ...string)
	// Flush drops all copies, because all keys were written.
	Flush()
	// SetTrust sets the trust until the next call. A change of trust drops all
	// copies.
	SetTrust(Trust)
	// TrustUntil sets the trust to Coherent until a deadline, which further calls
	// extend. After the deadline, copies are kept but not served; a later call
	// serves them again, so it must come after the report of every write before it.
	TrustUntil(time.Time)
	// Version and BeginVersion keep the versions of tags that the store reads.
	Version(key string, now time.Time) (*Version, bool)
	BeginVersion(key string) VersionTicket
}

// BriefTTL is the lifetime of a copy under the trust Brief.
const BriefTTL = 2 * time.Second

const (
	// DefaultMaxSize is the default of [Options.MaxSize], 64 MiB.
	DefaultMaxSize = 64 << 20
	// DefaultTTL is the default of [Options.TTL].
	DefaultTTL = 30 * time.Second

	// entryOverhead is the size of a copy besides its key and text, in bytes: the
	// record, and otter's node and table slot.
	entryOverhead = 200

	// stripes is the number of counters that the keys share. Two keys of one stripe
	// may cost a copy that is not kept, never a wrong copy.
	stripes = 1024
)

// Options of a near cache.
type Options struct {
	// MaxSize is the total size of records and keys, in bytes. Versions of tags
	// take at most a quarter as much in addition. Default 64 MiB.
	MaxSize int64
	// TTL is the longest lifetime of a copy. Default 30s.
	TTL time.Duration
}

// Record is a record that can be copied. It is immutable.
type Record interface {
	comparable
	// Text is the record as it is stored.
	Text() string
}

// Copy is a record with the time at which it expires in the store, in
// nanoseconds of Unix time; 0 means never.
type Copy[R Record] struct {
	Record  R
	Expires int64
	// Versions are the versions of the record's tags. The copy is invalid once one
	// of them has ended.
	Versions []*Version
}

// Cache holds the copies of one store.
type Cache[R Record] struct {
	options Options
	seed    maphash.Seed
	// generation is replaced by an empty one when copies may be out of date. Loads
	// under way fill the old one, which is no longer read.
	generation atomic.Pointer[generation[R]]
	// staleGeneration holds the copies from before trust was lost, for stale use.
	// It is dropped when trust is regained.
	staleGeneration atomic.Pointer[generation[R]]
	lease           atomic.Pointer[lease] // of Coherent; nil: it has ended
	mu              sync.Mutex            // serializes changes of trust

	hits, evictions, invalidations atomic.Uint64
}

type generation[R Record] struct {
	trust    Trust
	copies   *otter.Cache[string, entry[R]]
	versions *otter.Cache[string, *Version] // of tags, by key
	written  [stripes]atomic.Uint64         // counts the reported writes, by stripe
	// tagged reports whether a version was ever read. It is set before that, so a
	// report that is handled while it is not set came before the read.
	tagged atomic.Bool
}

// lease is the deadline of the trust by two clocks: the monotonic clock stops
// while a virtual machine is suspended, and the wall clock may be set back.
type lease struct {
	until time.Time
	wall  int64 // the same in nanoseconds of Unix time
}

func newLease(until time.Time) *lease { return &lease{until, until.UnixNano()} }

func (l *lease) holds(now time.Time) bool {
	return l != nil && now.UnixNano() < l.wall && now.Before(l.until)
}

// forever is longer than any process lives.
const forever = 100 * 365 * 24 * time.Hour

// entry is a copy with the time until which it may be served, in nanoseconds of
// Unix time.
type entry[R Record] struct {
	Copy[R]
	until int64
}

// New returns an empty near cache that does not trust the store yet.
func New[R Record](options Options) *Cache[R] {
	if options.MaxSize == 0 {
		options.MaxSize = DefaultMaxSize
	}
	if options.TTL == 0 {
		options.TTL = DefaultTTL
	}
	c := &Cache[R]{options: options, seed: maphash.MakeSeed()}
	c.generation.Store(&generation[R]{trust: None})
	return c
}

func (c *Cache[R]) newGeneration(trust Trust) *generation[R] {
	g := &generation[R]{trust: trust}
	if trust == None {
		return g
	}
	g.versions = newVersions(c.options.MaxSize)
	g.copies = otter.Must(&otter.Options[string, entry[R]]{
		MaximumWeight: uint64(c.options.MaxSize),
		Weigher: func(key string, e entry[R]) uint32 {
			return uint32(len(key) + len(e.Record.Text()) + entryOverhead)
		},
		OnAtomicDeletion: func(e otter.DeletionEvent[string, entry[R]]) {
			if e.WasEvicted() {
				c.evictions.Add(1)
			}
		},
	})
	return g
}

// Peek returns a copy that may be served. strict rejects copies that could be
// out of date.
func (c *Cache[R]) Peek(key string, strict bool, now time.Time) (Copy[R], bool) {
	g := c.generation.Load()
	if !c.serves(g, strict, now) {
		return Copy[R]{}, false
	}
	e, ok := g.copies.GetIfPresent(key)
	if !ok || e.until <= now.UnixNano() || !Current(e.Versions) {
		return Copy[R]{}, false
	}
	c.hits.Add(1)
	return e.Copy, true
}

// serves reports whether copies of a generation may be served.
func (c *Cache[R]) serves(g *generation[R], strict bool, now time.Time) bool {
	switch g.trust {
	case Coherent:
		return c.lease.Load().holds(now)
	case Brief:
		return !strict
	}
	return false
}

// Stale returns a copy for stale use: one that may not be served any more and
// expired at most maxAge ago.
func (c *Cache[R]) Stale(key string, maxAge time.Duration, now time.Time) (Copy[R], bool) {
	for _, g := range []*generation[R]{c.generation.Load(), c.staleGeneration.Load()} {
		if g == nil || g.copies == nil {
			continue
		}
		if e, ok := g.copies.GetIfPresent(key); ok && now.UnixNano()-e.until <= int64(maxAge) && Current(e.Versions) {
			return e.Copy, true
		}
	}
	return Copy[R]{}, false
}

// Ticket is needed to keep a copy of what is read after the ticket was drawn.
type Ticket[R Record] struct {
	cache      *Cache[R]
	generation *generation[R]
	key        string
	strict     bool
	seen       uint64
}

// Begin draws a ticket. It must be called before the store is read.
func (c *Cache[R]) Begin(key string, strict bool) Ticket[R] {
	g := c.generation.Load()
	return Ticket[R]{cache: c, generation: g, key: key, strict: strict, seen: g.stripe(c, key).Load()}
}

func (g *generation[R]) stripe(c *Cache[R], key string) *atomic.Uint64 {
	return &g.written[maphash.String(c.seed, key)%stripes]
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
func (t Ticket[R]) Keep(e Copy[R], now time.Time) {
	g := t.generation
	if g == nil {
		return
	}
	t.cache.dropStale(t.key, e.Record)
	if current := t.cache.generation.Load(); current != g {
		current.doubt(t.cache, t.key, e.Record)
	}
	if g.copies == nil {
		return
	}
	stripe := g.stripe(t.cache, t.key)
	var none R
	if e.Record == none && stripe.Load() == t.seen {
		if _, ok := g.copies.GetIfPresent(t.key); !ok {
			return // the usual case of a key that is nowhere
		}
	}
	mayKeep := (!t.strict || g.trust == Coherent) && Current(e.Versions)
	// An invalidation first counts and then drops the copy, under the same lock as
	// this function. So it is either noticed here, or it drops the copy that is
	// kept here.
	g.copies.Compute(t.key, func(old entry[R], found bool) (entry[R], otter.ComputeOp) {
		switch {
		case found && (e.Record == none || old.Record.Text() != e.Record.Text()):
			stripe.Add(1) // other readers may be about to keep either of the two
			return old, otter.InvalidateOp
		case e.Record == none, !mayKeep, stripe.Load() != t.seen:
			return old, otter.CancelOp
		}
		return entry[R]{e, now.Add(t.lifetime(e, now)).UnixNano()}, otter.WriteOp
	})
}

// dropStale drops the copy for stale use if it differs from what the store or
// the source has just answered.
func (c *Cache[R]) dropStale(key string, answered R) {
	g := c.staleGeneration.Load()
	if g == nil {
		return
	}
	var none R
	g.copies.ComputeIfPresent(key, func(old entry[R]) (entry[R], otter.ComputeOp) {
		if answered != none && old.Record.Text() == answered.Text() {
			return old, otter.CancelOp
		}
		return old, otter.InvalidateOp
	})
}

// Correct corrects the copies of the key after an answer of the source that the
// store does not have: a copy that differs is dropped, and the answer replaces
// the copy for stale use. An answer without a record says that there is none,
// or that it may not be kept. If the key was written or the trust changed since
// the ticket was drawn, copies are only dropped.
//
// The ticket must be drawn before the source is asked.
func (t Ticket[R]) Correct(answered R, now time.Time) {
	c := t.cache
	if c == nil {
		return
	}
	var none R
	g, stale := c.generation.Load(), c.staleGeneration.Load()
	if g != t.generation || g.stripe(c, t.key).Load() != t.seen {
		answered = none
	}
	if g.copies != nil {
		g.copies.ComputeIfPresent(t.key, func(old entry[R]) (entry[R], otter.ComputeOp) {
			if answered != none && old.Record.Text() == answered.Text() {
				return old, otter.CancelOp
			}
			g.stripe(c, t.key).Add(1)
			return old, otter.InvalidateOp
		})
	}
	switch {
	case stale == nil:
	case answered == none:
		stale.copies.Invalidate(t.key)
	default:
		stale.copies.Set(t.key, entry[R]{Copy[R]{Record: answered, Expires: now.UnixNano()}, now.UnixNano()})
	}
}

// doubt drops the copy of a key if it differs from a record that was read with
// a ticket of an earlier generation: one of the two is out of date.
func (g *generation[R]) doubt(c *Cache[R], key string, seen R) {
	if g.copies == nil {
		return
	}
	g.copies.ComputeIfPresent(key, func(old entry[R]) (entry[R], otter.ComputeOp) {
		var none R
		if seen != none && old.Record.Text() == seen.Text() {
			return old, otter.CancelOp
		}
		g.stripe(c, key).Add(1)
		return old, otter.InvalidateOp
	})
}

// lifetime is how long a copy may be served.
func (t Ticket[R]) lifetime(e Copy[R], now time.Time) time.Duration {
	ttl := t.cache.options.TTL
	if t.generation.trust == Brief {
		ttl = min(ttl, BriefTTL)
	}
	if e.Expires != 0 {
		ttl = min(ttl, time.Duration(e.Expires-now.UnixNano()))
	}
	return ttl
}

// Invalidate drops the copies of keys that were written. Reads under way cannot
// bring them back.
func (c *Cache[R]) Invalidate(keys ...string) {
	g, stale := c.generation.Load(), c.staleGeneration.Load()
	c.invalidations.Add(uint64(len(keys)))
	for _, key := range keys {
		g.stripe(c, key).Add(1)
		g.drop(key)
		if stale != nil {
			stale.drop(key)
		}
	}
}

// drop drops the copy, or the version, of a key.
func (g *generation[R]) drop(key string) {
	if g.copies == nil {
		return
	}
	g.copies.Invalidate(key)
	if g.tagged.Load() {
		g.versions.Invalidate(key)
	}
}

// Flush drops all copies, as after FLUSHALL.
func (c *Cache[R]) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invalidations.Add(1)
	c.staleGeneration.Store(nil)
	c.swap(c.generation.Load().trust)
}

// SetTrust sets what copies may be used for, until the next call. A change
// drops all copies; those that are dropped because trust was lost are kept for
// stale use.
func (c *Cache[R]) SetTrust(trust Trust) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if trust == Coherent {
		c.lease.Store(newLease(time.Now().Add(forever)))
	} else {
		c.lease.Store(nil)
	}
	c.changeTrust(trust)
}

// TrustUntil is SetTrust(Coherent) with a deadline.
func (c *Cache[R]) TrustUntil(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lease.Store(newLease(until))
	c.changeTrust(Coherent)
}

// changeTrust replaces the generation if the trust changes. The caller holds
// c.mu.
func (c *Cache[R]) changeTrust(trust Trust) {
	old := c.generation.Load()
	if old.trust == trust {
		return
	}
	switch {
	case trust == Coherent:
		c.staleGeneration.Store(nil)
	case old.copies != nil:
		c.staleGeneration.Store(old)
	}
	c.swap(trust)
}

func (c *Cache[R]) swap(trust Trust) { c.generation.Store(c.newGeneration(trust)) }

// Coherent reports whether every write is reported here now.
func (c *Cache[R]) Coherent() bool {
	return c.generation.Load().trust == Coherent && c.lease.Load().holds(time.Now())
}

// Stats are the numbers of a near cache at one time. Sizes are in bytes.
type Stats struct {
	Coherent      bool   `json:"coherent"`
	Hits          uint64 `json:"hits"`
	Entries       int    `json:"entries"`
	Bytes         uint64 `json:"bytes"`
	MaxBytes      int64  `json:"max_bytes"`
	Evictions     uint64 `json:"evictions"`
	Invalidations uint64 `json:"invalidations"`
}

// Stats reads the numbers.
func (c *Cache[R]) Stats() Stats {
	g := c.generation.Load()
	s := Stats{
		Coherent: c.Coherent(), Hits: c.hits.Load(), MaxBytes: c.options.MaxSize,
		Evictions: c.evictions.Load(), Invalidations: c.invalidations.Load(),
	}
	if g.copies != nil {
		s.Entries, s.Bytes = g.copies.EstimatedSize(), g.copies.WeightedSize()
	}
	return s
}
