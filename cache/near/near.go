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
	"math"
	"sync"
	"sync/atomic"
	"time"
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

	// stripes is the number of counters that the keys share. Two keys of one stripe
	// may cost a copy that is not kept, never a wrong copy.
	stripes = 4096
)

// Options of a near cache.
type Options struct {
	// MaxSize is the memory that copies may take with their keys and memos, in bytes.
	// Versions of tags may take a quarter as much in addition. Default 64 MiB.
	MaxSize int64
	// TTL is the longest lifetime of a copy. Default 30s.
	TTL time.Duration
}

// Record is a record that can be copied: a pointer to T. It is immutable.
type Record[T any] interface {
	entry[T]
	// Text is the record as it is stored.
	Text() string
	// WithKey returns a copy of the record under a key, with the version of its tags,
	// which may be nil. With memos, the copy has room for what readers derive from it.
	WithKey(key string, version *Version, memos bool) *T
	// Version is the version given to WithKey.
	Version() *Version
}

// Copy is a record with the time at which it expires in the store, in
// nanoseconds of Unix time; 0 means never.
type Copy[T any] struct {
	Record  *T
	Expires int64
	// Versions are the versions of the record's tags. The copy is invalid once one
	// of them has ended. [Cache.Peek] and [Cache.Stale] leave them out.
	Versions []*Version
	// Memos gives the copy room for what readers derive from it.
	Memos bool
}

// Cache holds the copies of one store.
type Cache[T any, R Record[T]] struct {
	options Options
	seed    maphash.Seed
	// generation is replaced by an empty one when copies may be out of date. Loads
	// under way fill the old one, which is no longer read.
	generation atomic.Pointer[generation[T, R]]
	// staleGeneration holds the copies from before trust was lost, for stale use.
	// It is dropped when trust is regained.
	staleGeneration atomic.Pointer[generation[T, R]]
	lease           atomic.Pointer[lease] // of Coherent; nil: it has ended
	mu              sync.Mutex            // serializes changes of trust

	hits, evictions, invalidations atomic.Uint64
}

type generation[T any, R Record[T]] struct {
	trust Trust
	// longest is twice the longest lifetime of a copy, in nanoseconds. A copy that has
	// more left was kept before the wall clock was set back, and is not used.
	longest  int64
	copies   *table[T, R]
	versions *table[Version, *Version] // of tags, by key
	stripes  [stripes]stripe
	// tagged reports whether a version was ever read. It is set before the read, so a
	// report that is handled while tagged is false came before the read.
	tagged atomic.Bool
}

// stripe counts what happened to some of the keys.
type stripe struct {
	written atomic.Uint64 // reported writes
	absent  atomic.Uint64 // reads that found no record
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

// New returns an empty near cache that does not trust the store yet.
func New[T any, R Record[T]](options Options) *Cache[T, R] {
	if options.MaxSize == 0 {
		options.MaxSize = DefaultMaxSize
	}
	if options.TTL == 0 {
		options.TTL = DefaultTTL
	}
	c := &Cache[T, R]{options: options, seed: maphash.MakeSeed()}
	c.generation.Store(&generation[T, R]{trust: None})
	return c
}

func (c *Cache[T, R]) newGeneration(trust Trust) *generation[T, R] {
	g := &generation[T, R]{trust: trust}
	if trust == None {
		return g
	}
	g.longest = 2 * int64(min(c.longest(trust), math.MaxInt64/2))
	g.versions = newVersions(c.hash, c.options.MaxSize)
	g.copies = newTable(c.hash, c.options.MaxSize, func(_ R, evicted bool) {
		if evicted {
			c.evictions.Add(1)
		}
	})
	return g
}

// Peek returns a copy that may be served. strict rejects copies that could be
// out of date.
func (c *Cache[T, R]) Peek(key string, strict bool, now time.Time) (Copy[T], bool) {
	g := c.generation.Load()
	if !c.serves(g, strict, now) {
		return Copy[T]{}, false
	}
	hash := c.hash(key)
	e := g.copies.get(hash, key)
	if e == nil {
		return Copy[T]{}, false
	}
	s := e.Slot()
	if left := s.until.Load() - now.UnixNano(); left <= 0 || left > g.longest || e.Version().Ended() {
		return Copy[T]{}, false
	}
	g.copies.used(hash, e)
	c.hits.Add(1)
	return Copy[T]{Record: e, Expires: s.expires}, true
}

func (c *Cache[T, R]) hash(key string) uint64 { return maphash.String(c.seed, key) }

func (g *generation[T, R]) stripe(hash uint64) *stripe { return &g.stripes[hash%stripes] }

// Outlived reports whether the store is likely to have the record of a key, although
// its copy may no longer be served: the record has not expired.
func (c *Cache[T, R]) Outlived(key string, now time.Time) bool {
	g := c.generation.Load()
	if g.copies == nil {
		return false
	}
	hash := c.hash(key)
	e := g.copies.get(hash, key)
	if e == nil {
		return false
	}
	s := e.Slot()
	return s.until.Load() != 0 && (s.expires == 0 || s.expires > now.UnixNano()) && !e.Version().Ended()
}

// serves reports whether copies of a generation may be served.
func (c *Cache[T, R]) serves(g *generation[T, R], strict bool, now time.Time) bool {
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
func (c *Cache[T, R]) Stale(key string, maxAge time.Duration, now time.Time) (Copy[T], bool) {
	hash := c.hash(key)
	for _, g := range []*generation[T, R]{c.generation.Load(), c.staleGeneration.Load()} {
		if g == nil || g.copies == nil {
			continue
		}
		e := g.copies.get(hash, key)
		if e == nil {
			continue
		}
		s := e.Slot()
		until := s.until.Load()
		if age := now.UnixNano() - until; until != 0 && age <= int64(maxAge) && age >= -g.longest && !e.Version().Ended() {
			return Copy[T]{Record: e, Expires: s.expires}, true
		}
	}
	return Copy[T]{}, false
}

// Invalidate drops the copies of keys that were written. Reads under way cannot
// bring them back.
func (c *Cache[T, R]) Invalidate(keys ...string) {
	g, stale := c.generation.Load(), c.staleGeneration.Load()
	c.invalidations.Add(uint64(len(keys)))
	for _, key := range keys {
		hash := c.hash(key)
		g.drop(hash, key)
		if stale != nil {
			stale.drop(hash, key)
		}
	}
}

// drop drops the copy, or the version, of a key that was written. It first counts
// the write, so that reads under way keep nothing.
func (g *generation[T, R]) drop(hash uint64, key string) {
	g.stripe(hash).written.Add(1)
	if g.copies == nil {
		return
	}
	g.copies.drop(hash, key)
	if g.tagged.Load() {
		g.versions.drop(hash, key)
	}
}

// Flush drops all copies, as after FLUSHALL.
func (c *Cache[T, R]) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invalidations.Add(1)
	c.staleGeneration.Store(nil)
	c.swap(c.generation.Load().trust)
}

// SetTrust sets what copies may be used for, until the next call. A change
// drops all copies; those that are dropped because trust was lost are kept for
// stale use.
func (c *Cache[T, R]) SetTrust(trust Trust) {
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
func (c *Cache[T, R]) TrustUntil(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lease.Store(newLease(until))
	c.changeTrust(Coherent)
}

// changeTrust replaces the generation if the trust changes. The caller holds
// c.mu.
func (c *Cache[T, R]) changeTrust(trust Trust) {
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

func (c *Cache[T, R]) swap(trust Trust) { c.generation.Store(c.newGeneration(trust)) }

// Coherent reports whether every write is reported here now.
func (c *Cache[T, R]) Coherent() bool {
	return c.generation.Load().trust == Coherent && c.lease.Load().holds(time.Now())
}

// Stats are the counters of a near cache since it was made, and its size now.
type Stats struct {
	// Coherent reports whether every write is reported here now.
	Coherent bool   `json:"coherent"`
	Hits     uint64 `json:"hits"`
	// Entries is the number of copies now. Bytes is the memory that they take, at most
	// MaxBytes.
	Entries  int    `json:"entries"`
	Bytes    uint64 `json:"bytes"`
	MaxBytes int64  `json:"max_bytes"`
	// Evictions counts copies that were dropped for want of room, Invalidations the
	// keys whose writes were reported.
	Evictions     uint64 `json:"evictions"`
	Invalidations uint64 `json:"invalidations"`
}

// Stats returns the counters and the size.
func (c *Cache[T, R]) Stats() Stats {
	g := c.generation.Load()
	s := Stats{
		Coherent: c.Coherent(), Hits: c.hits.Load(), MaxBytes: c.options.MaxSize,
		Evictions: c.evictions.Load(), Invalidations: c.invalidations.Load(),
	}
	if g.copies != nil {
		s.Entries, s.Bytes = int(g.copies.count.Load()), uint64(g.copies.weight.Load())
	}
	return s
}
