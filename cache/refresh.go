// Refresh: a record that is used near the end of its TTL is loaded again before
// it expires, so that no request waits for a record that is used often.

package cache

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

// refreshPart is the part of a TTL, 1/10, at whose end a use starts a refresh.
const refreshPart = 10

// refreshable reports whether a record with this remaining TTL should be
// refreshed.
func (l *Lookup) refreshable(record *Record, left time.Duration) bool {
	if left == NoExpiry || l.options.Source == nil {
		return false
	}
	full := l.options.TTL
	if record.ttl != 0 {
		full = min(full, time.Duration(record.ttl)*time.Millisecond)
	}
	return left < full/refreshPart
}

// refresh asks the source in the background, unless another load of the key
// runs in the fleet. If the source fails, the record stays as it is and is
// refreshed after a pause.
func (l *Lookup) refresh(ctx context.Context, req Request, old *Record, now time.Time) {
	if l.cache.pauses.active(req.Key, now) {
		return
	}
	detached := context.WithoutCancel(ctx) // a closure over ctx would be allocated at every hit
	l.cache.refreshes.start(detached, req.Key, l.options.Source, func(ctx context.Context, fl *flight) Result {
		b := l.newBudget()
		ctx, cancel := context.WithDeadline(ctx, b.deadline)
		defer cancel()
		return l.refreshNow(ctx, req, old, b, fl)
	})
}

// refreshNow is refresh in the calling goroutine. It never waits for other
// loads, since the record is still valid.
func (l *Lookup) refreshNow(ctx context.Context, req Request, old *Record, b *budget, fl *flight) Result {
	pauses := &l.cache.pauses
	pauses.begin(req.Key) // ended below where the record was refreshed
	if !l.slots.tryEnter() {
		return Result{Outcome: OutcomeError, Err: ErrOverloaded}
	}
	defer l.slots.leave()
	c, held, err := l.acquire(ctx, req, old, b, false)
	if err != nil || held || c.now.Record != nil {
		return Result{Outcome: OutcomeError, Err: err}
	}
	// Another node may have refreshed the record, with the same text.
	if c.now.Expires != 0 && !l.refreshable(c.old, c.now.TTL(time.Now())) {
		l.end(ctx, req.Key, c.token, nil)
		l.cache.changed(req.Key) // near copies have the old TTL
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
	// pauses after refreshes that failed; each is twice as long as the one before
	refreshPauseMin = time.Second
	refreshPauseMax = time.Minute
)

// pauses keep refreshes that fail from being repeated at every hit. They use
// the same memory for any number of keys: keys share stripes, so the failed
// refresh of one key may delay that of another.
type pauses struct {
	seed    maphash.Seed
	stripes [1024]atomic.Pointer[pause]
}

// pause is the current pause of a key.
type pause struct {
	key   string
	count int
	until time.Duration // as clock.Of
}

func (p *pauses) of(key string) *atomic.Pointer[pause] {
	return &p.stripes[maphash.String(p.seed, key)%uint64(len(p.stripes))]
}

// active reports whether the key is in a pause.
func (p *pauses) active(key string, now time.Time) bool {
	last := p.of(key).Load()
	return last != nil && clock.Of(now) < last.until
}

// begin begins a pause, longer than the last one of the key.
func (p *pauses) begin(key string) {
	stripe := p.of(key)
	now := clock.Now()
	next := &pause{key: key}
	if last := stripe.Load(); last != nil && last.key == key && now-last.until < refreshPauseMax {
		next.count = last.count + 1
	}
	length := refreshPauseMax
	if next.count < 6 {
		length = refreshPauseMin << next.count
	}
	next.until = now + length*3/4 + rand.N(length/2)
	stripe.Store(next)
}

// end ends the pause of a key.
func (p *pauses) end(key string) {
	stripe := p.of(key)
	if last := stripe.Load(); last != nil && last.key == key {
		stripe.CompareAndSwap(last, nil)
	}
}
