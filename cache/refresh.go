// Records that are used when they have little time left are asked for anew
// before they expire, so that nobody waits for what is asked for often.

package cache

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// refreshPart is the last part of a TTL in which a use leads to a refresh.
const refreshPart = 10

// refreshable reports whether a record with so much time left should be asked
// for anew.
func (l *Lookup) refreshable(record *Record, left time.Duration) bool {
	if left == NoExpiry || l.options.Source == nil {
		return false
	}
	full := l.options.TTL
	if record.ttl != 0 {
		full = min(full, record.ttl)
	}
	return left < full/refreshPart
}

// refresh asks the source in the background, if no load in the fleet does
// already. Where the source does not answer, the record stays as it is, and is
// asked for again after a pause.
func (l *Lookup) refresh(ctx context.Context, req Request, old *Record, now time.Time) {
	if l.cache.pauses.active(req.Key, now) {
		return
	}
	detached := context.WithoutCancel(ctx) // a closure over ctx would put it on the heap at every hit
	l.cache.refreshes.start(detached, req.Key, l.options.Source, func(ctx context.Context, fl *flight) Result {
		b := l.newBudget()
		ctx, cancel := context.WithDeadline(ctx, b.deadline)
		defer cancel()
		return l.refreshNow(ctx, req, old, b, fl)
	})
}

// refreshNow is refresh without a goroutine of its own. It never waits for
// other loads, as there is time.
func (l *Lookup) refreshNow(ctx context.Context, req Request, old *Record, b *budget, fl *flight) Result {
	pauses := &l.cache.pauses
	pauses.begin(req.Key) // it ends where the record has been refreshed
	if !l.slots.tryEnter() {
		return Result{Outcome: OutcomeError, Err: ErrOverloaded}
	}
	defer l.slots.leave()
	c, held, err := l.acquire(ctx, req.Key, old, b, false)
	if err != nil || held || c.now.Record != nil {
		return Result{Outcome: OutcomeError, Err: err}
	}
	// The record may have been refreshed already, with the same text.
	if c.now.Expires != 0 && !l.refreshable(c.old, c.now.TTL(time.Now())) {
		l.end(ctx, req.Key, c.token, nil)
		l.cache.changed(req.Key) // copies have the old TTL
		pauses.end(req.Key)
		return Result{Outcome: OutcomeError}
	}
	r := l.loadUnder(ctx, req, c.token, c.old, b, fl)
	if r.Stored {
		pauses.end(req.Key)
	}
	return r
}

const (
	// the pauses after refreshes that came to nothing, each twice as long as
	// the one before
	refreshPauseMin = time.Second
	refreshPauseMax = time.Minute
)

// pauses keep refreshes that come to nothing from being repeated at every hit.
// They take the same memory however many keys there are: keys share stripes,
// and one whose refreshes fail may delay those of another.
type pauses struct {
	seed    maphash.Seed
	stripes [1024]atomic.Pointer[pause]
}

// pause is one that a key has begun.
type pause struct {
	key   string
	count int
	until int64 // Unix nanoseconds
}

func (p *pauses) of(key string) *atomic.Pointer[pause] {
	return &p.stripes[maphash.String(p.seed, key)%uint64(len(p.stripes))]
}

// active reports whether a refresh of the key should wait.
func (p *pauses) active(key string, now time.Time) bool {
	last := p.of(key).Load()
	return last != nil && now.UnixNano() < last.until
}

// begin begins a pause, longer than the last one of the key.
func (p *pauses) begin(key string) {
	stripe := p.of(key)
	now := time.Now()
	next := &pause{key: key}
	if last := stripe.Load(); last != nil && last.key == key && now.UnixNano()-last.until < int64(refreshPauseMax) {
		next.count = last.count + 1
	}
	length := refreshPauseMax
	if next.count < 6 {
		length = refreshPauseMin << next.count
	}
	next.until = now.Add(length*3/4 + rand.N(length/2)).UnixNano()
	stripe.Store(next)
}

// end ends the pause of a key.
func (p *pauses) end(key string) {
	stripe := p.of(key)
	if last := stripe.Load(); last != nil && last.key == key {
		stripe.CompareAndSwap(last, nil)
	}
}
