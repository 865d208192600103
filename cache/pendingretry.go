// Retrying the invalidations that the store did not carry out.

package cache

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// the shortest and the longest pause between attempts
	pendingPauseMin = 50 * time.Millisecond
	pendingPauseMax = time.Second
	// the timeouts of one attempt: for keys and tags, and for prefixes
	pendingTimeout       = 2 * time.Second
	pendingPrefixTimeout = time.Minute
	// An attempt ends after this many failures, or when they took this long: the
	// store is away then. Otherwise others may still be carried out.
	pendingFailures = 100
	pendingPatience = 50 * time.Millisecond
)

// attach makes a cache one of those that carry out pending invalidations.
func (p *Pending) attach(c *Cache) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.caches = append(p.caches, c)
	p.startLocked()
}

// detach ends what attach began. The last cache makes one more attempt first;
// what is left then waits for the next cache.
func (p *Pending) detach(c *Cache) {
	p.mu.RLock()
	last := len(p.caches) == 1 && len(p.items) > 0
	p.mu.RUnlock()
	if last {
		p.attempt(context.Background(), c, pendingTimeout)
	}
	p.mu.Lock()
	p.caches = slices.DeleteFunc(p.caches, func(other *Cache) bool { return other == c })
	lost := len(p.caches) == 0 && len(p.items) > 0
	done := p.done
	if len(p.caches) == 0 && p.cancel != nil {
		p.cancel()
	} else {
		done = nil
	}
	p.mu.Unlock()
	if done != nil {
		<-done
	}
	if lost {
		p.logger.Error(logPendingLost)
	}
}

// startLocked starts the goroutine that retries. It ends when nothing is
// pending or no cache is left to carry it out.
func (p *Pending) startLocked() {
	if p.cancel != nil || len(p.items) == 0 || len(p.caches) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go p.run(ctx, p.done)
}

func (p *Pending) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	for pause := pendingPauseMin; ; pause = min(2*pause, pendingPauseMax) {
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		c := p.executor()
		if c == nil {
			return
		}
		p.attempt(ctx, c, pendingPrefixTimeout)
	}
}

// executor returns the cache that carries out what is pending, or nil where the
// goroutine must end.
func (p *Pending) executor() *Cache {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.items) == 0 || len(p.caches) == 0 {
		p.cancel()
		p.cancel = nil
		return nil
	}
	return p.caches[len(p.caches)-1]
}

// attempt tries to carry out what is pending: first keys and tags, then prefixes, which
// take longer. Those that failed before come last, so that they do not keep others
// waiting.
func (p *Pending) attempt(ctx context.Context, c *Cache, prefixTimeout time.Duration) {
	p.mu.Lock()
	p.attempts++
	a := pendingAttempt{p: p, cache: c, prefixTimeout: prefixTimeout, number: p.attempts, asked: p.number}
	failed := make(map[pendingItem]uint64, len(p.items))
	for item, state := range p.items {
		failed[item] = state.failed
	}
	p.mu.Unlock()
	items := slices.SortedFunc(maps.Keys(failed), func(a, b pendingItem) int {
		return cmp.Or(cmp.Compare(failed[a], failed[b]), cmp.Compare(a.kind, b.kind))
	})
	isPrefix := func(item pendingItem) bool { return item.kind == pendingPrefix }
	quick := slices.DeleteFunc(slices.Clone(items), isPrefix)
	prefixes := slices.DeleteFunc(items, func(item pendingItem) bool { return !isPrefix(item) })
	a.carryOutAll(ctx, quick)
	a.carryOutAll(ctx, prefixes)
}

// pendingAttempt is one attempt to carry out what is pending.
type pendingAttempt struct {
	p             *Pending
	cache         *Cache
	prefixTimeout time.Duration
	number        uint64        // its own
	asked         uint64        // the number of the last call that asked for one of them
	failures      int           // of the keys and tags, or of the prefixes
	wasted        time.Duration // how long all failures took
}

// carryOutAll carries out invalidations until too many fail, or the store is away.
func (a *pendingAttempt) carryOutAll(ctx context.Context, items []pendingItem) {
	a.failures = 0
	for len(items) > 0 && a.wasted < pendingPatience {
		n := 1
		for n < min(len(items), deleteBatch) && items[0].kind == pendingKey && items[n].kind == pendingKey {
			n++
		}
		if !a.carryOut(ctx, items[:n]) {
			return
		}
		items = items[n:]
	}
}

// carryOut carries out one invalidation, or those of several keys. If the store does
// not carry out several, each half is tried, because the cause may be a single one.
// It returns false if no more of the kind should be tried.
func (a *pendingAttempt) carryOut(ctx context.Context, items []pendingItem) (goOn bool) {
	started := time.Now()
	err := a.call(ctx, items)
	if err == nil {
		a.p.dropCopies(a.cache)
		a.p.finish(a.asked, items...)
		return true
	}
	a.failures++
	a.wasted += time.Since(started)
	goOn = a.failures < pendingFailures && a.wasted < pendingPatience && ctx.Err() == nil
	if half := len(items) / 2; half > 0 && goOn {
		return a.carryOut(ctx, items[:half]) && a.carryOut(ctx, items[half:])
	}
	a.p.failed(err, a.number, items)
	return goOn
}

// call calls the store once.
func (a *pendingAttempt) call(ctx context.Context, items []pendingItem) error {
	timeout := pendingTimeout
	if items[0].kind == pendingPrefix {
		timeout = a.prefixTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch items[0].kind {
	case pendingTag:
		return a.cache.dropTag(ctx, items[0].text)
	case pendingPrefix:
		_, err := a.cache.deletePrefix(ctx, items[0].text)
		return err
	default:
		keys := make([]string, len(items))
		for i, item := range items {
			keys[i] = item.text
		}
		_, err := a.cache.deleteKeys(ctx, keys)
		return err
	}
}

// failed notes that an attempt could not carry out some invalidations.
func (p *Pending) failed(cause error, attempt uint64, items []pendingItem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = cause
	for _, item := range items {
		if state, ok := p.items[item]; ok {
			state.failed = attempt
			p.items[item] = state
		}
	}
}

// dropCopies drops the near copies of the other caches that share the Pending,
// such as that of an older configuration which still serves requests: the store
// reports the change to them only later.
func (p *Pending) dropCopies(by *Cache) {
	p.mu.RLock()
	caches := slices.Clone(p.caches)
	p.mu.RUnlock()
	for _, c := range caches {
		if c != by {
			c.changedAll()
		}
	}
}
