// Records that are used when they have little time left are asked for anew
// before they expire, so that nobody waits for what is asked for often.

package cache

import (
	"context"
	"time"
)

// refreshPart is the last part of a TTL in which a use leads to a refresh.
const refreshPart = 10

// refreshable tells whether a record with so much time left should be asked
// for anew.
func (l *Lookup) refreshable(left time.Duration) bool {
	return left != NoExpiry && l.options.Source != nil && int64(left) < l.refreshBelow.Load()
}

// refresh asks the source in the background, if nobody in the fleet does
// already. The record stays as it is where the source does not answer.
func (l *Lookup) refresh(ctx context.Context, req Request, old *Record) {
	detached := context.WithoutCancel(ctx)
	l.cache.refreshes.start(req.Key, l.options.Source, func() Result {
		b := &budget{left: l.options.LookupTimeout}
		var token string
		err := b.spend(detached, func(ctx context.Context) (err error) {
			token, _, err = l.cache.store.Acquire(ctx, req.Key, old, l.options.LoadTimeout, l.options.Tags != nil)
			return err
		})
		if err != nil || token == "" {
			return Result{Outcome: OutcomeError, Err: err}
		}
		return l.loadUnder(detached, req, token, old, b)
	})
}

// filled learns how long records live in fact: a source may cap the TTL far
// below the route's, and the last tenth of that is what counts then.
func (l *Lookup) filled(record *Record, ttl time.Duration) {
	if record.state == Found {
		below := int64(ttl / refreshPart)
		if below < l.refreshBelow.Load() {
			l.refreshBelow.Store(below)
		}
	}
}
