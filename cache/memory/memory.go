// Package memory is the embedded store: records in this process's memory, for
// a site of one node that needs no Redis. What it holds ends with the process.
package memory

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// DefaultMaxSize is the store's size where nothing else is configured.
	DefaultMaxSize = 256 << 20
	// EntryOverhead is what a record costs beside its key and its text, in
	// bytes: the record, otter's node and its share of the hash table, as
	// measured.
	EntryOverhead = 200
)

// Options of a store.
type Options struct {
	// MaxSize is the size of all entries together, in bytes: keys, the text
	// of records, and [EntryOverhead] for each. Above it, the entries that
	// are least likely to be used again are dropped. Default 256 MiB.
	MaxSize int64
	// MaxValueSize is the largest record in bytes of JSON text. Default
	// [cache.DefaultMaxValueSize].
	MaxValueSize int
}

// Store is a [cache.Store] in memory. It needs no context: no call waits for
// anything but short locks, and a [Store.Peek] not even for those.
type Store struct {
	options Options
	records *otter.Cache[string, cache.Entry]
	leases  leases
	tags    tags
	upkeep  upkeep
	started time.Time
	closed  atomic.Bool

	// linger is how long records are kept after they expired, for those who
	// rather have an old answer than none.
	linger atomic.Int64

	expired, evicted atomic.Int64
}

// New returns an empty store, to be closed when it is not needed any more.
func New(options Options) (*Store, error) {
	if options.MaxSize == 0 {
		options.MaxSize = DefaultMaxSize
	}
	if options.MaxValueSize == 0 {
		options.MaxValueSize = cache.DefaultMaxValueSize
	}
	if options.MaxSize < 0 || options.MaxValueSize < 0 {
		return nil, fmt.Errorf("sizes cannot be negative: max size %d, max value size %d",
			options.MaxSize, options.MaxValueSize)
	}
	s := &Store{options: options, started: time.Now()}
	var err error
	s.records, err = otter.New(&otter.Options[string, cache.Entry]{
		MaximumWeight:    uint64(options.MaxSize),
		Weigher:          weigh,
		ExpiryCalculator: otter.ExpiryWritingFunc(s.remaining),
		OnAtomicDeletion: s.count,
		Executor:         s.upkeep.run,
		Clock:            wallClock{},
	})
	if err != nil {
		return nil, fmt.Errorf("making the embedded store: %w", err)
	}
	return s, nil
}

func weigh(key string, entry cache.Entry) uint32 {
	return uint32(min(math.MaxUint32, uint64(len(key)+entry.Record.Size()+EntryOverhead)))
}

// remaining tells otter how long an entry is kept: as long as it says, and for
// a while as stale.
func (s *Store) remaining(e otter.Entry[string, cache.Entry]) time.Duration {
	return time.Duration(e.Value.Expires - e.SnapshotAtNano + min(s.linger.Load(), math.MaxInt64-e.Value.Expires))
}

// live tells whether an entry has not expired.
func live(e cache.Entry) bool { return liveAt(e, time.Now()) }

func liveAt(e cache.Entry, now time.Time) bool {
	return e.Record != nil && e.Expires > now.UnixNano()
}

// KeepStale keeps records written from now on for as long after they expired.
func (s *Store) KeepStale(d time.Duration) {
	for {
		linger := s.linger.Load()
		if int64(d) <= linger || s.linger.CompareAndSwap(linger, int64(d)) {
			return
		}
	}
}

// Stale finds a record that expired at most maxAge ago.
func (s *Store) Stale(key string, maxAge time.Duration) (cache.Entry, bool) {
	entry, ok := s.records.GetIfPresent(key)
	return entry, ok && !s.closed.Load() && time.Now().UnixNano()-entry.Expires <= int64(maxAge)
}

func (s *Store) count(e otter.DeletionEvent[string, cache.Entry]) {
	switch e.Cause {
	case otter.CauseExpiration:
		s.expired.Add(1)
	case otter.CauseOverflow:
		s.evicted.Add(1)
	}
}

// Close ends the upkeep of the store. Nothing that it started is left.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.records.StopAllGoroutines()
	s.upkeep.close()
	return nil
}

func (s *Store) open() error {
	if s.closed.Load() {
		return cache.ErrClosed
	}
	return nil
}

// Name is "memory".
func (s *Store) Name() string { return "memory" }

// Peek is Get without a context. It takes no lock and allocates nothing.
func (s *Store) Peek(key string, now time.Time) (cache.Entry, bool) {
	if s.closed.Load() {
		return cache.Entry{}, false
	}
	entry, ok := s.records.GetIfPresent(key)
	if !ok || !liveAt(entry, now) {
		return cache.Entry{}, false
	}
	return entry, true
}

// Get reads a record and when it expires.
func (s *Store) Get(_ context.Context, key string) (cache.Entry, error) {
	entry, _ := s.Peek(key, time.Now())
	return entry, s.open()
}

// GetMany is Get for each of the keys.
func (s *Store) GetMany(_ context.Context, keys []string) ([]cache.Got, error) {
	got := make([]cache.Got, len(keys))
	now := time.Now()
	for i, key := range keys {
		got[i].Entry, _ = s.Peek(key, now)
	}
	return got, s.open()
}

// Set writes a record and ends the key's lease.
func (s *Store) Set(_ context.Context, key string, record *cache.Record, ttl time.Duration) error {
	entry, err := s.entry(record, ttl)
	if err != nil {
		return err
	}
	s.write(key, entry)
	return nil
}

// SetMany is Set for each of the items, or for none of them where one is in
// error.
func (s *Store) SetMany(_ context.Context, items []cache.Item) error {
	entries := make([]cache.Entry, len(items))
	for i, item := range items {
		var err error
		if entries[i], err = s.entry(item.Record, item.TTL); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	for i, item := range items {
		s.write(item.Key, entries[i])
	}
	return nil
}

// Records change only inside otter's Compute, under the lock of their key, and
// the leases change there with them. So record and lease of a key are one, and
// a fill is wholly before or wholly after any other write. The functions given
// to Compute take the lock of the leases and nothing else: calling otter there
// could deadlock.

func (s *Store) write(key string, entry cache.Entry) {
	s.records.Compute(key, func(cache.Entry, bool) (cache.Entry, otter.ComputeOp) {
		s.leases.end(key)
		return entry, otter.WriteOp
	})
}

// entry checks what is to be written.
func (s *Store) entry(record *cache.Record, ttl time.Duration) (cache.Entry, error) {
	if record.Size() > s.options.MaxValueSize {
		return cache.Entry{}, fmt.Errorf("%w: value is larger than %d bytes", cache.ErrInvalidRecord, s.options.MaxValueSize)
	}
	expires, err := s.expires(ttl)
	return cache.Entry{Record: record, Expires: expires}, err
}

// expires is the time at which a TTL ends that begins now.
func (s *Store) expires(ttl time.Duration) (int64, error) {
	if ttl < cache.MinTTL {
		return 0, fmt.Errorf("ttl is %s, want at least %s", ttl, cache.MinTTL)
	}
	now := time.Now().UnixNano()
	return now + min(int64(ttl), math.MaxInt64-now), s.open()
}

// Touch gives a record that is there a new TTL.
func (s *Store) Touch(_ context.Context, key string, ttl time.Duration) (bool, error) {
	expires, err := s.expires(ttl)
	if err != nil {
		return false, err
	}
	touched := false
	s.records.ComputeIfPresent(key, func(current cache.Entry) (cache.Entry, otter.ComputeOp) {
		if touched = live(current); !touched {
			return current, otter.CancelOp
		}
		return cache.Entry{Record: current.Record, Expires: expires}, otter.WriteOp
	})
	return touched, nil
}

// Delete drops records and ends the keys' leases.
func (s *Store) Delete(_ context.Context, keys ...string) (int, error) {
	deleted := 0
	if err := s.open(); err != nil {
		return deleted, err
	}
	for _, key := range keys {
		s.records.Compute(key, func(current cache.Entry, _ bool) (none cache.Entry, op otter.ComputeOp) {
			s.leases.end(key)
			if live(current) {
				deleted++
			}
			return none, otter.InvalidateOp
		})
	}
	return deleted, nil
}

// Acquire takes the key's lease where the store has nothing newer than old.
func (s *Store) Acquire(_ context.Context, key string, old *cache.Record, ttl time.Duration) (token string, now cache.Entry, err error) {
	if _, err := s.expires(ttl); err != nil {
		return "", cache.Entry{}, err
	}
	s.records.Compute(key, func(current cache.Entry, _ bool) (cache.Entry, otter.ComputeOp) {
		if live(current) && !same(current.Record, old) {
			now = current
		} else {
			token = s.leases.take(key, ttl)
		}
		return current, otter.CancelOp
	})
	return token, now, nil
}

// Fill writes a record under a lease where the store has nothing newer than old.
func (s *Store) Fill(_ context.Context, key, token string, old, record *cache.Record, ttl time.Duration) (bool, error) {
	entry, err := s.entry(record, ttl)
	if err != nil {
		return false, err
	}
	filled := false
	s.records.Compute(key, func(current cache.Entry, _ bool) (cache.Entry, otter.ComputeOp) {
		if !s.leases.use(key, token) || live(current) && !same(current.Record, old) {
			return current, otter.CancelOp
		}
		filled = true
		return entry, otter.WriteOp
	})
	return filled, nil
}

// Release ends a lease that was not used.
func (s *Store) Release(_ context.Context, key, token string) error {
	s.leases.use(key, token)
	return s.open()
}

func same(a, b *cache.Record) bool {
	return a == b || a != nil && b != nil && a.Text() == b.Text()
}

// Interface guards
var (
	_ cache.Store  = (*Store)(nil)
	_ cache.Peeker = (*Store)(nil)
	_ cache.Staler = (*Store)(nil)
)
