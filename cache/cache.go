package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

// Cache looks records up in a store and, where no store has them, in their
// source. It is made once and outlives the routes that use it.
type Cache struct {
	store   Store
	peeker  Peeker // the store, where it reads without I/O
	stats   *Stats
	near    *near.Cache[*Record] // nil where no copies are kept
	loads   flights
	touches flights
	// refreshes are loads that nobody waits for
	refreshes flights
}

// New returns a cache over a store, which it owns from then on, counting into
// stats, which it does not own.
func New(store Store, stats *Stats) *Cache {
	c := &Cache{store: store, stats: stats}
	c.peeker, _ = store.(Peeker)
	return c
}

// Close waits for loads under way and closes the store.
func (c *Cache) Close() error {
	c.loads.close()
	c.touches.close()
	c.refreshes.close()
	return c.store.Close()
}

// Stats are the counters the cache counts into.
func (c *Cache) Stats() *Stats { return c.stats }

// Route is a way of looking records up: which they are and how long they live.
type Route struct {
	cache    *Cache
	options  RouteOptions
	counters *routeCounters
	asked    *sourceCounters
	valid    Revalidator // the source, where it is one
	// refreshBelow is the TTL below which a record is asked for anew.
	refreshBelow atomic.Int64
}

// Route returns a route over the cache.
func (c *Cache) Route(options RouteOptions) (*Route, error) {
	options.setDefaults()
	if err := options.validate(); err != nil {
		return nil, fmt.Errorf("route %s: %w", options.Name, err)
	}
	rt := &Route{cache: c, options: options, counters: c.stats.route(options.Name, options.Family)}
	if options.Source != nil {
		rt.asked = c.stats.source(options.Source.Name())
		rt.valid, _ = options.Source.(Revalidator)
		rt.refreshBelow.Store(int64(options.TTL / refreshPart))
	}
	c.watch(options.KeyPrefix)
	if staler, ok := c.store.(Staler); ok {
		staler.KeepStale(options.StaleIfError)
	}
	return rt, nil
}

// Outcome is what a lookup came to.
type Outcome string

// The outcomes. Only a hit, a stale hit and a miss have a record with fields.
const (
	OutcomeHit    Outcome = "hit"    // a cache had the record
	OutcomeStale  Outcome = "stale"  // a cache had it, but past its time
	OutcomeMiss   Outcome = "miss"   // the source had it
	OutcomeAbsent Outcome = "absent" // there is none
	OutcomeDenied Outcome = "denied" // it is refused
	OutcomeError  Outcome = "error"  // nobody could tell
	OutcomeNone   Outcome = "none"   // there was no identity, hence no lookup
)

// Result of a lookup.
type Result struct {
	Outcome Outcome
	// Record is set where a cache or the source had one, negative ones too.
	Record *Record
	// Hit tells that a cache answered.
	Hit bool
	// From is the cache that answered a hit: "near", "memory", "redis".
	From string
	// Stored tells that the answer of the source is in the store now.
	Stored bool
	// TTL is how long the record has left in its cache; [NoExpiry] is forever.
	TTL time.Duration
	// Response is an answer of the source that is no record; see [Loaded].
	Response any
	// Err says why the outcome is an error.
	Err error
	// overtaken tells that the key was changed while its source was asked.
	overtaken bool
}

// OK tells whether there is a record with fields.
func (r *Result) OK() bool {
	return r.Record != nil && r.Record.state == Found &&
		(r.Outcome == OutcomeHit || r.Outcome == OutcomeStale || r.Outcome == OutcomeMiss)
}

// Lookup finds the record of a request, and counts what it came to. It does
// not return before it knows, unless ctx ends; what it has started by then
// goes on for those who ask next.
func (rt *Route) Lookup(ctx context.Context, req Request) Result {
	r := rt.lookup(ctx, req)
	rt.counters.add(&r)
	return r
}

func (rt *Route) lookup(ctx context.Context, req Request) Result {
	c, now := rt.cache, time.Now()
	switch {
	case c.peeker != nil:
		if entry, ok := c.peeker.Peek(req.Key, now); ok {
			if r, ok := rt.hit(ctx, req, entry, c.store.Name(), now); ok {
				return r
			}
		}
	case c.near != nil:
		if copied, ok := c.near.Peek(req.Key, rt.options.Strict, now); ok {
			if r, ok := rt.hit(ctx, req, Entry(copied), fromNear, now); ok {
				return r
			}
		}
	}
	return rt.get(ctx, req)
}

// get is lookup for what this process does not have.
func (rt *Route) get(ctx context.Context, req Request) Result {
	b := &budget{left: rt.options.LookupTimeout}
	var entry Entry
	ticket := rt.cache.ticket(req.Key, rt.options.Strict)
	err := b.spend(ctx, func(ctx context.Context) (err error) {
		entry, err = rt.cache.store.Get(ctx, req.Key)
		return err
	})
	switch {
	case errors.Is(err, ErrInvalidRecord):
		return Result{Outcome: OutcomeError, Err: err}
	case err != nil:
		return rt.getWithoutStore(ctx, req, err)
	}
	now := time.Now()
	ticket.Keep(near.Copy[*Record](entry), now)
	if r, ok := rt.hit(ctx, req, entry, rt.cache.store.Name(), now); ok {
		return r
	}
	r := rt.miss(ctx, req, entry.Record, b)
	if r.Outcome == OutcomeError {
		if stale, ok := rt.stale(ctx, req); ok {
			return stale
		}
	}
	return r
}

// getWithoutStore is get where the store cannot be asked, and nothing can be
// filled: an old copy, else the source.
func (rt *Route) getWithoutStore(ctx context.Context, req Request, err error) Result {
	if r, ok := rt.stale(ctx, req); ok {
		return r
	}
	if rt.options.Source == nil {
		return Result{Outcome: OutcomeError, Err: err}
	}
	return rt.miss(ctx, req, nil, &budget{})
}

// hit makes a result of a cached entry, if it still holds.
func (rt *Route) hit(ctx context.Context, req Request, entry Entry, from string, now time.Time) (Result, bool) {
	record := entry.Record
	if record == nil {
		return Result{}, false
	}
	if !rt.holds(ctx, req, record, now) {
		return Result{}, false
	}
	r := Result{Record: record, Hit: true, From: from, TTL: entry.TTL(now)}
	switch record.state {
	case Absent:
		r.Outcome = OutcomeAbsent
	case Denied:
		r.Outcome = OutcomeDenied
	default:
		r.Outcome = OutcomeHit
		if rt.options.Sliding {
			rt.slide(ctx, req.Key, record, r.TTL, now)
		} else if rt.refreshable(r.TTL) {
			rt.refresh(ctx, req, record)
		}
	}
	return r, true
}

// holds tells whether a cached record is still true.
func (rt *Route) holds(ctx context.Context, req Request, record *Record, now time.Time) bool {
	return !rt.expired(record, now) && (rt.valid == nil || rt.valid.Valid(ctx, req, record, now))
}

// expired tells whether the record's own expires_at has passed.
func (rt *Route) expired(record *Record, now time.Time) bool {
	return rt.options.ExpiresAt && record.expires != 0 && record.expires <= now.UnixNano()
}

// slide extends the TTL of a record in the background, if a tenth of it is gone.
func (rt *Route) slide(ctx context.Context, key string, record *Record, left time.Duration, now time.Time) {
	full := rt.capTTL(rt.options.TTL, record, now)
	if left == NoExpiry || left >= full-rt.options.TTL/10 {
		return
	}
	detached := context.WithoutCancel(ctx) // a closure over ctx would put it on the heap at every hit
	rt.cache.touches.start(key, nil, func() Result {
		b := &budget{left: rt.options.LookupTimeout}
		return Result{Err: b.spend(detached, func(ctx context.Context) error {
			_, err := rt.cache.store.Touch(ctx, key, full)
			return err
		})}
	})
}

// miss asks the source, one load per key at a time. old is what a cache had
// and does not hold any more.
func (rt *Route) miss(ctx context.Context, req Request, old *Record, b *budget) Result {
	source := rt.options.Source
	if source == nil {
		return Result{Outcome: OutcomeAbsent}
	}
	detached := context.WithoutCancel(ctx)
	load := func() Result { return rt.load(detached, req, old, b) }
	r, joined := rt.cache.loads.do(ctx, req.Key, source, load)
	if joined && r.overtaken {
		// the change may have come before this lookup, from another node
		r, joined = rt.cache.loads.do(ctx, req.Key, source, load)
	}
	if joined {
		rt.asked.coalesced.Add(1)
	}
	return r
}

// load fills a key from the source, under the key's lease. Without the lease
// (the store is out of reach, or somebody else loads for too long) it asks for
// itself and fills nothing.
func (rt *Route) load(ctx context.Context, req Request, old *Record, b *budget) Result {
	token, filled := rt.lease(ctx, req.Key, old, b)
	if r, ok := rt.hit(ctx, req, filled, rt.cache.store.Name(), time.Now()); ok {
		return r
	}
	return rt.loadUnder(ctx, req, token, old, b)
}

// loadUnder asks the source, and fills the key under a lease unless that is "".
func (rt *Route) loadUnder(ctx context.Context, req Request, token string, old *Record, b *budget) (r Result) {
	defer func() {
		if !r.Stored { // also where the source panics
			rt.release(ctx, req.Key, token, b)
		}
	}()
	started := time.Now()
	loaded, err := rt.ask(ctx, req, old)
	if err != nil {
		return Result{Outcome: OutcomeError, Err: err}
	}
	if loaded.Response != nil {
		return Result{Outcome: OutcomeAbsent, Response: loaded.Response}
	}
	r = Result{Record: loaded.Record, Outcome: OutcomeMiss}
	switch {
	case loaded.Record.state == Absent, rt.expired(loaded.Record, time.Now()):
		r.Outcome = OutcomeAbsent
	case loaded.Record.state == Denied:
		r.Outcome = OutcomeDenied
	}
	if token != "" && !loaded.NoStore {
		rt.fill(ctx, req, token, old, loaded, started, b, &r)
	}
	return r
}

const (
	// how often those who wait for a lease look again
	leasePollMin = 5 * time.Millisecond
	leasePollMax = 100 * time.Millisecond
)

// lease waits until it has the key's lease, or somebody else has filled the
// key, or it has waited for as long as a load may take.
func (rt *Route) lease(ctx context.Context, key string, old *Record, b *budget) (token string, now Entry) {
	ctx, cancel := context.WithTimeout(ctx, rt.options.LoadTimeout)
	defer cancel()
	for poll := leasePollMin; ; poll = min(leasePollMax, poll*3/2) {
		err := b.spend(ctx, func(ctx context.Context) (err error) {
			token, now, err = rt.cache.store.Acquire(ctx, key, old, rt.options.LoadTimeout)
			return err
		})
		if err != nil {
			return "", Entry{}
		}
		if token != "" || now.Record != nil {
			return token, now
		}
		select {
		case <-ctx.Done():
			return "", Entry{}
		case <-time.After(poll):
		}
	}
}

func (rt *Route) ask(ctx context.Context, req Request, old *Record) (Loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, rt.options.LoadTimeout)
	defer cancel()
	started := time.Now()
	loaded, err := rt.options.Source.Load(ctx, req, old)
	rt.cache.stats.SourceLatency.Observe(time.Since(started))
	rt.asked.requests.Add(1)
	switch {
	case err != nil:
	case loaded.Record == nil && loaded.Response == nil:
		err = errors.New("it answered neither a record nor a response")
	case loaded.Record != nil && loaded.Record.Size() > rt.options.MaxValueSize:
		err = fmt.Errorf("%w: it is larger than %d bytes", ErrInvalidRecord, rt.options.MaxValueSize)
	}
	if err != nil {
		rt.asked.errors.Add(1)
		return Loaded{}, &SourceError{err}
	}
	return loaded, nil
}

// fill stores what was loaded, if it may be, and notes in r what came of it.
func (rt *Route) fill(ctx context.Context, req Request, token string, old *Record, loaded Loaded, started time.Time, b *budget, r *Result) {
	ttl := rt.options.TTL
	if loaded.Record.state != Found {
		ttl = rt.options.NegativeTTL
	}
	ttl = jitter(ttl)
	if loaded.MaxTTL > 0 {
		ttl = min(ttl, loaded.MaxTTL)
	}
	ttl = rt.capTTL(ttl, loaded.Record, time.Now())
	if ttl < MinTTL {
		return
	}
	err := b.spend(ctx, func(ctx context.Context) (err error) {
		// The tags come first: who drops one after this finds the key, and
		// ends its lease; who dropped one before this is heard of here.
		if ok, err := rt.tag(ctx, req, loaded.Record, ttl, started); err != nil || !ok {
			return err
		}
		r.Stored, err = rt.cache.store.Fill(ctx, req.Key, token, old, loaded.Record, ttl)
		return err
	})
	switch {
	case err != nil:
		r.Stored = false
	case r.Stored:
		r.TTL = ttl
		rt.filled(loaded.Record, ttl)
		rt.cache.changed(req.Key)
	default:
		r.overtaken = true
	}
}

// tag files a record under its tags, and tells whether it may be filled.
func (rt *Route) tag(ctx context.Context, req Request, record *Record, ttl time.Duration, started time.Time) (bool, error) {
	if rt.options.Tags == nil || record.state != Found {
		return true, nil
	}
	tags := rt.options.Tags(req, record)
	if len(tags) == 0 {
		return true, nil
	}
	return rt.cache.store.Tag(ctx, req.Key, tags, ttl, started)
}

// release lets others load at once instead of when the lease expires.
func (rt *Route) release(ctx context.Context, key, token string, b *budget) {
	if token == "" {
		return
	}
	// a failure costs the others a wait, and nobody can do anything about it
	_ = b.spend(ctx, func(ctx context.Context) error {
		return rt.cache.store.Release(ctx, key, token)
	})
}

// capTTL keeps a TTL from reaching beyond the record's own expires_at.
func (rt *Route) capTTL(ttl time.Duration, record *Record, now time.Time) time.Duration {
	if rt.options.ExpiresAt && record.expires != 0 {
		ttl = min(ttl, time.Duration(record.expires-now.UnixNano()))
	}
	return ttl
}

// jitter spreads a TTL by 5 % either way, so that what was filled together
// does not expire together.
func jitter(ttl time.Duration) time.Duration {
	return time.Duration(float64(ttl) * (0.95 + 0.1*rand.Float64()))
}

// budget is the time that one lookup may still wait for the store, over all
// its round trips.
type budget struct{ left time.Duration }

// spend runs one round trip within the budget. The end of ctx's request does
// not cut it short: a connection that is given up in mid-answer is lost.
func (b *budget) spend(ctx context.Context, trip func(context.Context) error) error {
	if b.left <= 0 {
		return ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.left)
	defer cancel()
	started := time.Now()
	err := trip(ctx)
	b.left -= time.Since(started)
	return err
}
