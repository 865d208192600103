// The lease of a key: how a load takes it, waits for one that another load has,
// and gives it back.

package cache

import (
	"context"
	"time"
)

const (
	// How often a load that waits for another one reads the store. While the store
	// reports writes, the interval is leasePollReported: the poll is only for a lease
	// that expires and for a report that gets lost.
	leasePollReported = 250 * time.Millisecond
	leasePollMin      = 5 * time.Millisecond
	leasePollMax      = 100 * time.Millisecond
)

// leaseTTL is the TTL of a lease: as long as a load takes, with the round trips
// before and after it.
func (l *Lookup) leaseTTL() time.Duration { return l.longest() }

// claim is the result of asking for a key's lease: the token of the lease, the
// record that another load has filled meanwhile, or how the other load ended.
// Where all three are empty, the load goes on without the lease. old is the
// record that a fill may replace: the one that the load began from, or a later
// one that the lookup does not use.
type claim struct {
	token string
	now   Entry
	ended *Ended
	old   *Record
}

// claim takes the key's lease or waits for the load that has it. While it
// waits, it gives its slot back. waited reports whether the lease was held when
// the lookup read the store.
func (l *Lookup) claim(ctx context.Context, req Request, old *Record, b *budget, slot *slot, waited bool) claim {
	woken, stop := l.cache.listen(req.Key)
	defer stop()
	c, held, err := l.acquire(ctx, req, old, b, waited)
	if !held {
		return c
	}
	slot.give()
	// The node that has the lease may be dead. The wait leaves enough time to ask
	// the source.
	dead := time.NewTimer(time.Until(b.deadline) - l.options.LookupTimeout/2)
	defer dead.Stop()
	for poll := leasePollMin; held && err == nil; poll = min(leasePollMax, poll*3/2) {
		wait := poll
		if l.cache.near != nil && l.cache.near.Coherent() {
			wait = leasePollReported
		}
		select {
		case <-ctx.Done():
			return c
		case <-dead.C:
			return c
		case <-woken:
		case <-time.After(wait):
		}
		c, held, err = l.acquire(ctx, req, c.old, &budget{left: l.options.LookupTimeout}, true)
	}
	return c
}

// acquire asks for the key's lease once. held reports whether another load has
// it.
func (l *Lookup) acquire(ctx context.Context, req Request, old *Record, b *budget, waited bool) (c claim, held bool, err error) {
	c.old = old
	for {
		err := b.spend(ctx, func(ctx context.Context) (err error) {
			if waited {
				c.token, c.now, c.ended, err = l.cache.store.Reacquire(ctx, req.Key, c.old, l.leaseTTL(), l.options.Tags != nil)
			} else {
				c.token, c.now, err = l.cache.store.Acquire(ctx, req.Key, c.old, l.leaseTTL(), l.options.Tags != nil)
			}
			return err
		})
		if err != nil {
			l.cache.giveBacks.add(req.Key, c.token, l.leaseTTL())
			return claim{old: c.old}, false, err
		}
		if c.now.Old != nil {
			c.old = c.now.Old
		}
		if c.now.Record == nil || l.usable(req, c.now.Record) {
			return c, c.token == "" && c.now.Record == nil && c.ended == nil, nil
		}
		c.old, c.now = c.now.Record, Entry{} // this lookup does not use the record, so a fill may replace it
	}
}

// end ends a lease that was not used and reports to waiting loads how this one
// ended. Without ended, one of them loads.
func (l *Lookup) end(ctx context.Context, key, token string, ended *Ended) {
	if token == "" {
		return
	}
	err := l.finish(ctx, func(ctx context.Context) error {
		if ended == nil {
			return l.cache.store.Release(ctx, key, token)
		}
		return l.cache.store.Abandon(ctx, key, token, *ended)
	})
	if err != nil {
		l.cache.giveBacks.add(key, token, l.leaseTTL())
	}
	l.cache.waits.wake(key)
}
