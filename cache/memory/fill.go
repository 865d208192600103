// Leases of keys, and filling under them.

package memory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// GetOrAcquire reads a record, or takes the lease of a key that has none.
func (s *Store) GetOrAcquire(ctx context.Context, key string, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	return s.Acquire(ctx, key, nil, ttl, tagged)
}

// Acquire takes the key's lease if the store has nothing newer than old.
func (s *Store) Acquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	token, now, _, err := s.acquire(ctx, key, old, ttl, tagged, false)
	return token, now, err
}

// Reacquire is Acquire for a caller that has waited for the lease.
func (s *Store) Reacquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool) (string, cache.Entry, *cache.Ended, error) {
	return s.acquire(ctx, key, old, ttl, tagged, true)
}

func (s *Store) acquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged, waited bool) (token string, now cache.Entry, ended *cache.Ended, err error) {
	if _, err := s.expires(ctx, ttl); err != nil {
		return "", cache.Entry{}, nil, err
	}
	s.records.Compute(key, func(current cache.Entry, _ bool) (cache.Entry, otter.ComputeOp) {
		if live(current) && !same(current.Record, old) {
			now = current
			return current, otter.CancelOp
		}
		if token, ended = s.leases.take(key, ttl, waited); token != "" && live(current) {
			now.Expires = current.Expires
		}
		return current, otter.CancelOp
	})
	if token != "" && tagged {
		token = fmt.Sprint(token, " ", s.tags.mark())
	}
	return token, now, ended, nil
}

// Fill writes a record under a lease if the store has nothing newer than old.
func (s *Store) Fill(ctx context.Context, key, token string, old, record *cache.Record, tags []string, ttl time.Duration) (bool, error) {
	entry, err := s.entry(ctx, record, ttl)
	if err != nil {
		return false, err
	}
	if len(tags) > 0 {
		var ok bool
		entry.Record, entry.Versions, ok = s.tags.addTo(record, tags, token)
		if !ok || entry.Record.Size() > s.options.Load().MaxValueSize {
			return false, s.Release(ctx, key, token)
		}
	}
	filled := false
	var c change
	s.compute(key, func(current cache.Entry, _ bool) (cache.Entry, otter.ComputeOp) {
		if !s.leases.use(key, leaseOf(token)) || live(current) && !same(current.Record, old) {
			return current, otter.CancelOp
		}
		if filled = true; s.revokes(current, entry, false) {
			c = s.change(keyDropped, key)
		}
		return entry, otter.WriteOp
	})
	s.saver.changed.Store(true)
	if c.Number > 0 {
		return filled, s.journal.add(ctx, c)
	}
	return filled, nil
}

// Release ends a lease that was not used.
func (s *Store) Release(_ context.Context, key, token string) error {
	s.leases.use(key, leaseOf(token))
	return s.errClosed()
}

// Abandon ends a lease whose load filled nothing, and notes how it ended.
func (s *Store) Abandon(_ context.Context, key, token string, ended cache.Ended) error {
	s.leases.abandon(key, leaseOf(token), ended)
	return s.errClosed()
}

// leaseOf returns the token of a lease without the mark that [tags] has
// appended.
func leaseOf(token string) string {
	lease, _, _ := strings.Cut(token, " ")
	return lease
}
