package cache

import (
	"context"
	"time"
)

// Warm loads a record that the store lacks, as a lookup would: one load per
// key in the fleet, filed under its tags. It differs where nobody waits for an
// answer. It is not counted as a lookup, though what it asks of the source is;
// it extends and refreshes nothing that is there; it leaves the near cache to
// what is really asked for; and without the store it asks nobody, for nothing
// could be kept.
func (l *Lookup) Warm(ctx context.Context, req Request) Result {
	b := &budget{left: l.options.LookupTimeout}
	var entry Entry
	err := b.spend(ctx, func(ctx context.Context) (err error) {
		entry, err = l.cache.store.Get(ctx, req.Key)
		return err
	})
	if err != nil {
		return Result{Outcome: OutcomeError, Err: err}
	}
	now := time.Now()
	if entry.Record != nil && l.holds(ctx, req, entry.Record, now) {
		return Result{Outcome: OutcomeHit, Record: entry.Record, Hit: true, From: l.cache.store.Name(), TTL: entry.TTL(now)}
	}
	return l.miss(ctx, req, entry.Record, b)
}
