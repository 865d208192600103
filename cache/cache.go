package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

// Cache looks records up in a store and, where the store has none, in their
// source. It is made once and outlives the lookups that use it.
type Cache struct {
	// lookupTimeout is the longest LookupTimeout of the lookups, in nanoseconds.
	lookupTimeout atomic.Int64
	store         Store
	peeker        Peeker // the store, where it reads without I/O
	stats         *Stats
	near          *near.Cache[Record, *Record] // nil where no near copies are kept
	pending       *Pending
	loads         flights
	touches       flights
	// refreshes are loads in the background.
	refreshes flights
	pauses    pauses
	waits     waits
	giveBacks *giveBacks
}

// New returns a cache over a store, which it owns from then on. It counts into
// stats, which it does not own.
func New(store Store, stats *Stats) *Cache {
	c := &Cache{store: store, stats: stats, pending: NewPending(nil), pauses: pauses{seed: maphash.MakeSeed()}}
	c.peeker, _ = store.(Peeker)
	c.giveBacks = newGiveBacks(store, &c.waits)
	c.pending.attach(c)
	return c
}

// Close waits for loads under way and closes the store.
func (c *Cache) Close() error {
	c.pending.detach(c)
	c.loads.close()
	c.touches.close()
	c.refreshes.close()
	c.giveBacks.close()
	return c.store.Close()
}

// Stats returns the counters that the cache counts into.
func (c *Cache) Stats() *Stats { return c.stats }

// Lookup is one way of looking records up: their keys, their TTLs and their
// source.
type Lookup struct {
	cache    *Cache
	options  LookupOptions
	counters *routeCounters
	asked    *sourceCounters // nil without a source
	valid    Revalidator     // the source, where it is one
	sourceID uint64          // options.SourceID as a number; 0 where that is empty
	// raw is the store, and decoderID the hash of the decoder's ID, where values are
	// decoded.
	raw       RawReader
	decoderID uint64
	slots     *queue // for loads
	tagsID    uint32 // names the tags; 0 without tags
}

// NewLookup returns a lookup over the cache.
func (c *Cache) NewLookup(options LookupOptions) (*Lookup, error) {
	options.setDefaults()
	if err := options.validate(); err != nil {
		return nil, fmt.Errorf("lookup %s: %w", options.Name, err)
	}
	l := &Lookup{cache: c, options: options, counters: c.stats.route(options.Name, options.Family)}
	if err := l.setDecoder(); err != nil {
		return nil, fmt.Errorf("lookup %s: %w", options.Name, err)
	}
	if options.Source != nil {
		l.asked = c.stats.source(options.Source.Name())
		l.valid, _ = options.Source.(Revalidator)
		l.sourceID, _ = parseSourceID(options.SourceID)
		l.slots = &queue{limiter: newLimiter(options.MaxConcurrent), most: max(minQueued, options.MaxConcurrent*queuedPerLoad)}
	}
	if options.Tags != nil {
		l.tagsID = newTagsID(options.TagsID)
	}
	c.raiseTimeout(options.LookupTimeout)
	c.pending.addKeyPrefix(options.KeyPrefix)
	c.watchPrefix(options.KeyPrefix)
	if staler, ok := c.store.(Staler); ok {
		staler.RetainStale(options.StaleIfError)
	}
	return l, nil
}

// Name is the name of the lookup in statistics.
func (l *Lookup) Name() string { return l.options.Name }

// Outcome is the result of a lookup in one word.
type Outcome string

// The outcomes. Only OutcomeHit, OutcomeStale and OutcomeMiss have a record with
// fields.
const (
	OutcomeHit    Outcome = "hit"    // a cache had the record
	OutcomeStale  Outcome = "stale"  // a cache had the record, but it has expired
	OutcomeMiss   Outcome = "miss"   // the source had it
	OutcomeAbsent Outcome = "absent" // there is none
	OutcomeDenied Outcome = "denied" // it is refused
	OutcomeError  Outcome = "error"  // the lookup failed
	OutcomeNone   Outcome = "none"   // there was no identity, hence no lookup
)

// Result of a lookup.
type Result struct {
	Outcome Outcome
	// Key is that of the request.
	Key string
	// Record is the record that a cache or the source had. It may be an absence or a
	// refusal. Nil: neither had one.
	Record *Record
	// Hit reports whether a cache answered.
	Hit bool
	// From is the cache that answered a hit: "near", "memory", "redis".
	From string
	// Stored reports whether the answer of the source is in the store now.
	Stored bool
	// TTL is the remaining TTL of the record in its cache; [NoExpiry] means that it
	// never expires.
	TTL time.Duration
	// Response is an answer of the source that is not a record; see [Loaded].
	Response any
	// Err is the error of an OutcomeError.
	Err error
	// NoStore is the reason why the source's answer is not stored, where the source
	// gives one.
	NoStore string
	// private reports whether Response is for one client alone.
	private bool
	// overtaken reports whether the key was changed while its source was asked.
	overtaken bool
	// tooLate reports whether the load was ended by the deadline of its lookup.
	tooLate bool
	// notLoaded reports whether the load that was joined never began, because a cache
	// had the record.
	notLoaded bool
}

// OK reports whether there is a record with fields.
func (r *Result) OK() bool {
	return r.Record != nil && r.Record.State() == Found &&
		(r.Outcome == OutcomeHit || r.Outcome == OutcomeStale || r.Outcome == OutcomeMiss)
}

// Find looks up the record of a request and counts the outcome. It returns early
// only when ctx ends; a load that it has started then goes on while other lookups
// wait for it.
func (l *Lookup) Find(ctx context.Context, req Request) Result {
	now := time.Now()
	l.cache.stats.tick(now)
	r, ok := l.peek(ctx, req, now)
	if ok {
		l.counters.addFast(&r)
	} else {
		r = l.get(ctx, req, l.newBudget())
		l.counters.add(ctx, &r, time.Since(now))
	}
	r.Key = req.Key
	return r
}

// peek answers from the memory of this process, without I/O. ok is false where
// that has no record which the lookup may use.
func (l *Lookup) peek(ctx context.Context, req Request, now time.Time) (Result, bool) {
	c := l.cache
	finished := c.pending.finished.Load()
	switch {
	case c.peeker != nil:
		if entry, ok := c.peeker.Peek(req.Key, now); ok {
			if r, ok := l.hit(ctx, req, entry, c.store.Name(), now); ok && finished == c.pending.finished.Load() {
				return r, true
			}
		}
	case c.near != nil:
		if copied, ok := c.near.Peek(req.Key, l.options.Strict, now); ok {
			if r, ok := l.hit(ctx, req, entryOf(copied), fromNear, now); ok && finished == c.pending.finished.Load() {
				return r, true
			}
		}
	}
	return Result{}, false
}

// get is Find for a record of which this process has no usable copy.
func (l *Lookup) get(ctx context.Context, req Request, b *budget) Result {
	finished := l.cache.pending.finished.Load()
	ticket := l.cache.ticket(req.Key, l.options.Strict)
	lead := l.lead(req.Key)
	defer lead.end(ctx)
	entry, err := l.find(ctx, req.Key, lead, b)
	switch {
	case errors.Is(err, ErrInvalidRecord):
		ticket.Keep(near.Copy[Record]{}, time.Now()) // no older copy may be used instead
		return Result{Outcome: OutcomeError, Err: err}
	case err != nil:
		return l.orStale(ctx, req, l.getWithoutStore(ctx, req, lead, b, err))
	}
	now := time.Now()
	ticket.Keep(l.copyOf(entry), now)
	if r, ok := l.hit(ctx, req, entry, l.cache.store.Name(), now); ok {
		if finished != l.cache.pending.finished.Load() {
			lead.end(ctx)
			return l.get(ctx, req, b) // the record may have been read just before it was dropped
		}
		return r
	}
	if l.options.Source == nil && l.cache.pending.refuses(req.Key, entry.Record) {
		return Result{Outcome: OutcomeError, Err: ErrPending}
	}
	return l.orStale(ctx, req, l.miss(ctx, req, entry.stored(), lead, b))
}

// orStale returns a stale record in place of an error, where neither the store nor
// the source has answered.
func (l *Lookup) orStale(ctx context.Context, req Request, r Result) Result {
	if r.Outcome == OutcomeError {
		if stale, ok := l.stale(ctx, req); ok {
			return stale
		}
	}
	return r
}

// getWithoutStore is get while the store does not answer: the source is asked and
// nothing is stored.
func (l *Lookup) getWithoutStore(ctx context.Context, req Request, lead *lead, b *budget, err error) Result {
	if l.options.Source == nil {
		return Result{Outcome: OutcomeError, Err: err}
	}
	b.left = 0
	return l.miss(ctx, req, nil, lead, b)
}

// hit returns the result for a cached entry; ok is false where the entry may not
// be used.
func (l *Lookup) hit(ctx context.Context, req Request, entry Entry, from string, now time.Time) (Result, bool) {
	if entry.Record == nil {
		return Result{}, false
	}
	if l.usable(req, entry.Record) && l.unreadable(entry.Record) {
		return Result{Outcome: OutcomeError, Err: errExpiry}, true
	}
	record, ok := l.current(ctx, req, entry.Record, now)
	if !ok {
		return Result{}, false
	}
	r := Result{Record: record, Hit: true, From: from, TTL: entry.TTL(now)}
	switch record.State() {
	case Absent:
		r.Outcome = OutcomeAbsent
	case Denied:
		r.Outcome = OutcomeDenied
	default:
		r.Outcome = OutcomeHit
		if l.options.Sliding {
			l.slide(ctx, req.Key, record, r.TTL, now)
		} else if l.refreshable(entry.Record, r.TTL) {
			l.refresh(ctx, req, entry.Record, now)
		}
	}
	return r, true
}

// current returns the record that this lookup uses where a cache has record. ok is
// false where the cached record may not be used or is no longer true.
func (l *Lookup) current(ctx context.Context, req Request, record *Record, now time.Time) (use *Record, ok bool) {
	if !l.usable(req, record) || l.expired(record, now) || l.cache.pending.refuses(req.Key, record) {
		return nil, false
	}
	if l.valid == nil {
		return record, true
	}
	return l.valid.Current(ctx, req, record, now)
}

// usable reports whether a cached record answers this lookup's question: the
// application wrote it, in the format that this lookup reads, or this lookup's
// source answered it. A lookup that stores no absences does not use absences that
// its source answered earlier. A lookup with tags does not use an answer that was
// stored without the tags that it has here, such as before a reload: a purge of
// the tag would not drop it.
func (l *Lookup) usable(req Request, record *Record) bool {
	switch record.origin {
	case originApplication:
		return l.raw == nil
	case originDecoded:
		return l.raw != nil && record.sourceID == l.decoderID
	case originSource:
		return l.options.SourceID != "" && record.sourceID == l.sourceID &&
			(record.State() == Found || l.options.NegativeTTL > 0) &&
			(l.options.Tags == nil || l.bears(req, record))
	}
	return false
}

// slide extends the TTL of a record in the background, once a tenth of it has
// passed.
func (l *Lookup) slide(ctx context.Context, key string, record *Record, left time.Duration, now time.Time) {
	full := l.capTTL(l.options.TTL, record, now)
	if left == NoExpiry || left >= full-l.options.TTL/10 {
		return
	}
	detached := context.WithoutCancel(ctx) // a closure over ctx would be allocated at every hit
	l.cache.touches.start(detached, key, nil, func(ctx context.Context, _ *flight) Result {
		return Result{Err: l.newBudget().spend(ctx, func(ctx context.Context) error {
			_, err := l.cache.store.Touch(ctx, key, record, full)
			return err
		})}
	})
}
