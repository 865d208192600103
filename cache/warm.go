package cache

import (
	"context"
	"time"
)

// Warm loads a record that the store lacks, as [Lookup.Find] does: with one
// load per key in the fleet, and with its tags. Unlike Find it counts no lookup
// (but counts the request to the source), extends and refreshes no record,
// keeps no near copy, and does not ask the source while the store is
// unreachable, since nothing could be stored.
func (l *Lookup) Warm(ctx context.Context, req Request) Result {
	b := l.newBudget()
	lead := l.lead(req.Key)
	defer lead.end(ctx)
	entry, err := l.find(ctx, req.Key, lead, b)
	if err != nil {
		return Result{Outcome: OutcomeError, Err: err}
	}
	now := time.Now()
	if entry.Record != nil {
		if record, ok := l.current(ctx, req, entry.Record, now); ok {
			return Result{Outcome: OutcomeHit, Record: record, Hit: true, From: l.cache.store.Name(), TTL: entry.TTL(now)}
		}
	}
	return l.miss(ctx, req, entry.stored(), lead, b)
}
