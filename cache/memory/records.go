// Reading, writing and deleting records. They change only inside otter's Compute,
// under the lock of their key, and so do their leases. So a fill comes wholly
// before or wholly after any other write of its key. The functions given to
// Compute take no lock but that of the leases: calling otter there could
// deadlock.

package memory

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Peek is Get without a context. It takes no lock and allocates nothing. It
// finds nothing until the store's file is read.
func (s *Store) Peek(key string, now time.Time) (cache.Entry, bool) {
	if s.state.Load() != opened {
		return cache.Entry{}, false
	}
	entry, ok := s.records.GetIfPresent(key)
	if !ok || !liveAt(entry, now) {
		return cache.Entry{}, false
	}
	return entry, true
}

// Get reads a record and when it expires.
func (s *Store) Get(ctx context.Context, key string) (cache.Entry, error) {
	if err := s.await(ctx); err != nil {
		return cache.Entry{}, err
	}
	entry, _ := s.Peek(key, time.Now())
	return entry, s.errClosed()
}

// GetMany is Get for each of the keys.
func (s *Store) GetMany(ctx context.Context, keys []string) ([]cache.Got, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	got := make([]cache.Got, len(keys))
	now := time.Now()
	for i, key := range keys {
		got[i].Entry, _ = s.Peek(key, now)
	}
	return got, s.errClosed()
}

// Set writes a record and ends the key's lease.
func (s *Store) Set(ctx context.Context, key string, record *cache.Record, ttl time.Duration) error {
	entry, err := s.entry(ctx, record, ttl)
	if err != nil {
		return err
	}
	return s.journal.add(ctx, s.write(key, entry, nil)...)
}

// SetMany is Set for each of the items. It writes nothing if one of the items
// is invalid.
func (s *Store) SetMany(ctx context.Context, items []cache.Item) error {
	entries := make([]cache.Entry, len(items))
	for i, item := range items {
		var err error
		if entries[i], err = s.entry(ctx, item.Record, item.TTL); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	var changes []change
	for i, item := range items {
		changes = s.write(item.Key, entries[i], changes)
	}
	return s.journal.add(ctx, changes...)
}

// write writes a record, and adds it to the changes if the journal must note
// it.
func (s *Store) write(key string, entry cache.Entry, changes []change) []change {
	var c change
	s.compute(key, func(current cache.Entry, _ bool) (cache.Entry, otter.ComputeOp) {
		s.leases.end(key)
		if s.revokes(current, entry, true) {
			c = s.change(keySet, key)
		}
		return entry, otter.WriteOp
	})
	s.saver.changed.Store(true)
	if c.Number > 0 {
		c.Value, c.Expires = entry.Record.Text(), entry.Expires
		changes = append(changes, c)
	}
	return changes
}

// compute changes an entry, never at the moment at which a save begins.
func (s *Store) compute(key string, change func(cache.Entry, bool) (cache.Entry, otter.ComputeOp)) {
	s.journal.changing.RLock()
	defer s.journal.changing.RUnlock()
	s.records.Compute(key, change)
}

// change returns a change that the store makes now. Without a journal it has no
// number.
func (s *Store) change(kind, name string) change {
	if !s.journal.on.Load() {
		return change{}
	}
	return change{Number: s.journal.numbered.Add(1), Kind: kind, Name: []byte(name)}
}

// revokes reports whether a crash must not bring back the record that an entry
// replaces. That is so for a record that the entry denies or ends earlier, and
// with whole for any other record. An evicted record may still be in the file.
func (s *Store) revokes(current, entry cache.Entry, whole bool) bool {
	whole = whole || entry.Record.State() != cache.Found
	if !live(current) {
		return whole && s.evicted.Load() != s.savedEvicted.Load()
	}
	return entry.Expires < current.Expires || whole && !same(current.Record, entry.Record)
}

// entry returns the entry for a record, or an error if it may not be written.
func (s *Store) entry(ctx context.Context, record *cache.Record, ttl time.Duration) (cache.Entry, error) {
	if most := s.options.Load().MaxValueSize; record.Size() > most {
		return cache.Entry{}, fmt.Errorf("%w: value is larger than %d bytes", cache.ErrInvalidRecord, most)
	}
	expires, err := s.expires(ctx, ttl)
	return cache.Entry{Record: record, Expires: expires, Versions: s.tags.versionsOf(record)}, err
}

// expires returns the time at which a TTL ends that begins now.
func (s *Store) expires(ctx context.Context, ttl time.Duration) (int64, error) {
	if ttl < cache.MinTTL {
		return 0, fmt.Errorf("ttl is %s, want at least %s", ttl, cache.MinTTL)
	}
	if err := s.await(ctx); err != nil {
		return 0, err
	}
	now := time.Now().UnixNano()
	return now + min(int64(ttl), math.MaxInt64-now), nil
}

// Touch gives an existing record a new TTL.
func (s *Store) Touch(ctx context.Context, key string, _ *cache.Record, ttl time.Duration) (bool, error) {
	expires, err := s.expires(ctx, ttl)
	if err != nil {
		return false, err
	}
	touched := false
	s.records.ComputeIfPresent(key, func(current cache.Entry) (cache.Entry, otter.ComputeOp) {
		if touched = live(current); !touched {
			return current, otter.CancelOp
		}
		current.Expires = expires
		return current, otter.WriteOp
	})
	s.saver.changed.Store(true)
	return touched, nil
}

// Delete drops records and ends the keys' leases.
func (s *Store) Delete(ctx context.Context, keys ...string) (int, error) {
	if err := s.await(ctx); err != nil {
		return 0, err
	}
	deleted := 0
	var changes []change
	for _, key := range keys {
		removed, c := s.removeNoted(key)
		if removed {
			deleted++
		}
		if c.Number > 0 {
			changes = append(changes, c)
		}
	}
	return deleted, s.journal.add(ctx, changes...)
}

func (s *Store) remove(key string) bool {
	removed, _ := s.removeNoted(key)
	return removed
}

// removeNoted drops a record and returns the change for the journal. There is
// one even if the store has no record, because an evicted one may still be in
// the file.
func (s *Store) removeNoted(key string) (removed bool, c change) {
	s.compute(key, func(current cache.Entry, _ bool) (none cache.Entry, op otter.ComputeOp) {
		s.leases.end(key)
		removed, c = live(current), s.change(keyDropped, key)
		return none, otter.InvalidateOp
	})
	if removed {
		s.saver.changed.Store(true)
	}
	return removed, c
}

func same(a, b *cache.Record) bool {
	return a == b || a != nil && b != nil && a.Text() == b.Text()
}
