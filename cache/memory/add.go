package memory

import (
	"context"
	"fmt"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// AddMany writes the records whose keys have neither a record nor a lease. It
// writes nothing if one of the items is invalid.
func (s *Store) AddMany(ctx context.Context, items []cache.Item) (added int, err error) {
	entries := make([]cache.Entry, len(items))
	for i, item := range items {
		if entries[i], err = s.entry(ctx, item.Record, item.TTL); err != nil {
			return 0, fmt.Errorf("item %d: %w", i, err)
		}
	}
	for i, item := range items {
		s.records.Compute(item.Key, func(current cache.Entry, _ bool) (cache.Entry, otter.ComputeOp) {
			if live(current) || s.leases.held(item.Key) {
				return current, otter.CancelOp
			}
			added++
			return entries[i], otter.WriteOp
		})
	}
	s.saver.changed.Store(true)
	return added, s.errClosed()
}
