// Package near keeps copies of shared records in this process.
//
// A copy is served only while the watcher of the store (see package redis)
// vouches that every write is reported here. That trust is a lease: it has an
// end of its own, which each hit compares with the clock, so that a paused
// process or a connection that lags cannot prolong it. All methods may be called
// at once from any goroutine; reading takes no lock, allocates nothing and does
// no I/O.
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
	// None: writes are not reported; nothing is kept or served.
	None Trust = iota
	// Brief: writes are not reported and will not be; copies live for
	// [BriefTTL], and only of what may be that old.
	Brief
	// Coherent: every write is reported here.
	Coherent
)

// Sink is the near cache as the watcher of a store sees it.
type Sink interface {
	// Invalidate drops the copies of keys that were written.
	Invalidate(keys ...string)
	// Flush drops all copies, because all keys were written.
	Flush()
	// SetTrust sets the trust until the next call. Where trust changes, the
	// copies go.
	SetTrust(Trust)
	// TrustUntil sets the trust to Coherent, and when it ends unless it is
	// extended. At its end copies are kept but not served; a later call serves
	// them again, so it must come behind every write reported before it.
	TrustUntil(time.Time)
	// Version and BeginVersion are for what the store reads to check tags.
	Version(key string, now time.Time) (*Version, bool)
	BeginVersion(key string) VersionTicket
}

// BriefTTL is how long a copy is used of whose key no changes are reported.
const BriefTTL = 2 * time.Second

const (
	// DefaultMaxSize is how many bytes of copies are kept where nothing else
	// is configured.
	DefaultMaxSize = 64 << 20
	// DefaultTTL is how long a copy lives where nothing else is configured.
	DefaultTTL = 30 * time.Second

	// entryOverhead is what a copy takes beside its key and text: the
	// record, and otter's node and table slot.
	entryOverhead = 200

	// stripes is how many counters the keys share. Two keys of one stripe
	// cost a fill now and then, never a wrong copy.
	stripes = 1024
)

// Options of a near cache.
type Options struct {
	// MaxSize in bytes of records and keys. Versions of tags take a quarter as
	// much beside them at most. Default 64MiB.
	MaxSize int64
	// TTL is the longest a copy lives. Default 30s.
	TTL time.Duration
}

// Record is what copies are kept of. It is immutable.
type Record interface {
	comparable
	// Text is the record as it is stored.
	Text() string
}

// Copy of a record with the time it expires in the store, in nanoseconds of
// Unix time; 0 is never.
type Copy[R Record] struct {
	Record  R
	Expires int64
	// Versions are those of the record's tags. The copy ends with the first of
	// them that does.
	Versions []*Version
}

// Cache has the copies of one store.
type Cache[R Record] struct {
	options Options
	seed    maphash.Seed
	// generation is swapped for an empty one when copies are in doubt, so
	// that loads in flight fill the old one, which is no longer read.
	generation atomic.Pointer[generation[R]]
	// staleGeneration is what copies there were when doubt came, for those who
	// rather take an old answer than none; gone when trust is back.
	staleGeneration atomic.Pointer[generation[R]]
	lease           atomic.Pointer[lease] // of Coherent; nil: over
	mu              sync.Mutex            // orders changes of trust

	hits, evictions, invalidations atomic.Uint64
}

type generation[R Record] struct {
	trust    Trust
	copies   *otter.Cache[string, entry[R]]
	versions *otter.Cache[string, *Version] // of tags, by key
	written  [stripes]atomic.Uint64         // counts the writes told of, by stripe
}

// lease is the end of the trust, by both clocks: the monotonic one stands still
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

// entry is a copy with the time until it may be served, in nanoseconds of
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

// Peek finds a copy that may be served. strict is for those who want none that
// could be out of date.
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

// Stale finds a copy that may not be served any more but by those who rather
// have an old answer than none. It is at most maxAge past its time.
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

// Ticket is the right to keep a copy of what is read after it was drawn.
type Ticket[R Record] struct {
	cache      *Cache[R]
	generation *generation[R]
	key        string
	strict     bool
	seen       uint64
}

// Begin draws a ticket. It must come before the store is asked.
func (c *Cache[R]) Begin(key string, strict bool) Ticket[R] {
	g := c.generation.Load()
	return Ticket[R]{cache: c, generation: g, key: key, strict: strict, seen: g.stripe(c, key).Load()}
}

func (g *generation[R]) stripe(c *Cache[R], key string) *atomic.Uint64 {
	return &g.written[maphash.String(c.seed, key)%stripes]
}

// Keep keeps a copy of what the store answered, unless the key was written
// since the ticket was drawn, or copies came into doubt. An answer without a
// record says that the store has none.
//
// An answer also corrects what is kept for stale use: a copy that differs from
// it is dropped, whether or not the answer itself may be kept.
//
// Where there is a copy with another text, of another reader, one of the two is
// out of date, and this process cannot know which before the store tells of the
// write. Then none is kept, so that a reader who has seen the newer one is not
// shown the older.
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
	// An invalidation counts first and then drops the copy, under the same
	// lock as this: it is either seen here, or drops what is kept here.
	g.copies.Compute(t.key, func(old entry[R], found bool) (entry[R], otter.ComputeOp) {
		switch {
		case found && (e.Record == none || old.Record.Text() != e.Record.Text()):
			stripe.Add(1) // others may be about to keep either
			return old, otter.InvalidateOp
		case e.Record == none, !mayKeep, stripe.Load() != t.seen:
			return old, otter.CancelOp
		}
		return entry[R]{e, now.Add(t.lifetime(e, now)).UnixNano()}, otter.WriteOp
	})
}

// dropStale drops the copy that is kept for stale use if it differs from what
// the store or the source has just answered.
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

// Correct makes the copies of the key agree with an answer of the source that
// the store does not have: a copy that differs is dropped, and where copies are
// kept for stale use the answer takes its place. An answer without a record says
// that there is none, or that it may not be kept. An answer to a question from
// before a write, or before copies came into doubt, only drops.
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

// doubt drops the copy of a key that is not the record which a reader has seen
// that began in an earlier generation: one of the two is out of date.
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

// Invalidate drops the copies of keys that were written, and keeps reads that
// are under way from bringing them back.
func (c *Cache[R]) Invalidate(keys ...string) {
	g, stale := c.generation.Load(), c.staleGeneration.Load()
	for _, key := range keys {
		c.invalidations.Add(1)
		g.stripe(c, key).Add(1)
		if g.copies != nil {
			g.copies.Invalidate(key)
			g.versions.Invalidate(key)
		}
		if stale != nil {
			stale.copies.Invalidate(key)
			stale.versions.Invalidate(key)
		}
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

// SetTrust changes what copies may be used for, until the next change. The
// copies go: they are kept for stale use where trust is lost, and dropped where
// it is gained.
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

// TrustUntil is SetTrust(Coherent) with an end.
func (c *Cache[R]) TrustUntil(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lease.Store(newLease(until))
	c.changeTrust(Coherent)
}

// changeTrust swaps the generation where trust changes. c.mu is held.
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

// Stats are the numbers of a near cache at one moment. Sizes are in bytes.
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
