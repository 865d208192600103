package cache

import (
	"context"
	"time"
)

// budget is the time that one lookup may still wait for the store before its
// source is asked, summed over all its round trips, and the deadline of the whole
// lookup.
type budget struct {
	left     time.Duration
	deadline time.Time
}

func (l *Lookup) newBudget() *budget {
	return &budget{left: l.options.LookupTimeout, deadline: time.Now().Add(l.longest())}
}

// longest is the longest time that a lookup may take.
func (l *Lookup) longest() time.Duration { return l.options.LoadTimeout + l.options.LookupTimeout }

// spend runs one round trip within the budget. It does not end with ctx: a
// connection that is abandoned while it waits for an answer has to be closed.
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

// finish is spend for the round trip that ends a load. It has its own timeout,
// independent of the time that the load took, and is done even if no lookup waits.
func (l *Lookup) finish(ctx context.Context, trip func(context.Context) error) error {
	b := &budget{left: max(l.options.LookupTimeout, minFinishTimeout)}
	return b.spend(ctx, trip)
}

// minFinishTimeout is long enough for a node that is far from its store.
const minFinishTimeout = 2 * time.Second

// keysPerTrip is the number of keys that one LookupTimeout is enough for.
const keysPerTrip = 500

// withTimeout returns a context for an operation on some keys that is not part of a
// lookup. Its timeout is the longest LookupTimeout of the cache's lookups for each
// round trip.
func (c *Cache) withTimeout(ctx context.Context, keys int) (context.Context, context.CancelFunc) {
	timeout := time.Duration(c.lookupTimeout.Load())
	if timeout == 0 {
		timeout = DefaultLookupTimeout
	}
	return context.WithTimeout(ctx, timeout*time.Duration(1+keys/keysPerTrip))
}

// raiseTimeout raises the timeout of withTimeout to that of a lookup.
func (c *Cache) raiseTimeout(timeout time.Duration) {
	for {
		old := c.lookupTimeout.Load()
		if int64(timeout) <= old || c.lookupTimeout.CompareAndSwap(old, int64(timeout)) {
			return
		}
	}
}
