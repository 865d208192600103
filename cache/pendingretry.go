// Retrying the invalidations that the store did not carry out.

package cache

import (
	"context"
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

// attempt tries to carry out what is pending, until something fails.
func (p *Pending) attempt(ctx context.Context, c *Cache, prefixTimeout time.Duration) {
	p.mu.RLock()
	number := p.number
	byKind := make(map[pendingKind][]string)
	for item := range p.items {
		byKind[item.kind] = append(byKind[item.kind], item.text)
	}
	p.mu.RUnlock()
	if err := p.carryOut(ctx, c, number, byKind, prefixTimeout); err != nil {
		p.mu.Lock()
		p.last = err
		p.mu.Unlock()
	}
}

// carryOut calls the store for each of the invalidations, until a call fails.
// number is that of the last request for one of them.
func (p *Pending) carryOut(ctx context.Context, c *Cache, number uint64, byKind map[pendingKind][]string, prefixTimeout time.Duration) error {
	call := func(timeout time.Duration, kind pendingKind, texts []string, invalidate func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := invalidate(ctx); err != nil {
			return err
		}
		p.dropCopies(c)
		p.finish(number, itemsOf(kind, texts)...)
		return nil
	}
	for _, tag := range byKind[pendingTag] {
		if err := call(pendingTimeout, pendingTag, []string{tag}, func(ctx context.Context) error { return c.dropTag(ctx, tag) }); err != nil {
			return err
		}
	}
	for keys := range slices.Chunk(byKind[pendingKey], deleteBatch) {
		if err := call(pendingTimeout, pendingKey, keys, func(ctx context.Context) error { _, err := c.deleteKeys(ctx, keys); return err }); err != nil {
			return err
		}
	}
	for _, prefix := range byKind[pendingPrefix] {
		if err := call(prefixTimeout, pendingPrefix, []string{prefix}, func(ctx context.Context) error { _, err := c.deletePrefix(ctx, prefix); return err }); err != nil {
			return err
		}
	}
	return nil
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
