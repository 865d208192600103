// Package memory is the embedded store: records in this process's memory, for a
// site of one node without Redis. The records end with the process, unless the
// store has a file.
//
// persist.go decides when the file is read and written, file.go reads and
// writes it, codec.go has its format, and replace.go replaces it so that a
// crash leaves a complete file. journal.go keeps a crash from bringing back
// what was revoked since the last save, and replay.go reads the journal.
// dir_unix.go refuses files that other users may write to.
package memory

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

const (
	// DefaultMaxSize is the default of [Options.MaxSize], 256 MiB.
	DefaultMaxSize = 256 << 20
	// EntryOverhead is the measured memory of a record besides its key and its
	// text, in bytes: the record, otter's node and its share of the hash table.
	EntryOverhead = 240
	// DefaultSaveInterval is the default of [Options.SaveInterval].
	DefaultSaveInterval = time.Minute
)

// Options of a store.
type Options struct {
	// MaxSize is the total size of all entries, in bytes: keys, the text of
	// records, and [EntryOverhead] for each. Above it, the entries that are least
	// likely to be used again are evicted. Default 256 MiB.
	MaxSize int64
	// MaxValueSize is the largest record, in bytes of JSON text. Default
	// [cache.DefaultMaxValueSize].
	MaxValueSize int
	// File is the name of the file that keeps records, their tags and their expiry
	// over a restart. It is read at the store's first use, and written at intervals
	// and by Close. A relative name is in the working directory. The file is
	// neither read nor written, and a log message says why, if other users may
	// write to it (directly, or through a directory or link above it) or if another
	// store uses it. Default: no file.
	File string
	// SaveInterval is how long a change may stay unwritten: a crash loses the
	// records that were written since. Each save writes all records. Default 1m.
	SaveInterval time.Duration
	// NoJournal turns off the journal beside File, which keeps a crash from
	// bringing back what was dropped since the last save. With the journal, a
	// revocation takes as long as syncing a line to the disk. Default false.
	NoJournal bool
	// Logger logs what happens to the file. Default: no logging.
	Logger *slog.Logger
}

// Validate reports what is wrong with the options, if anything.
func (o Options) Validate() error { return o.complete() }

// complete checks options and sets defaults.
func (o *Options) complete() error {
	if o.MaxSize < 0 || o.MaxValueSize < 0 {
		return fmt.Errorf("sizes cannot be negative: max size %d, max value size %d", o.MaxSize, o.MaxValueSize)
	}
	if o.SaveInterval < 0 {
		return fmt.Errorf("save interval cannot be negative: %s", o.SaveInterval)
	}
	if o.MaxSize == 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.MaxValueSize == 0 {
		o.MaxValueSize = cache.DefaultMaxValueSize
	}
	if o.SaveInterval == 0 {
		o.SaveInterval = DefaultSaveInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Store is a [cache.Store] in memory. Its methods take short locks only, and
// [Store.Peek] none. Two things take longer: calls wait while the file of the
// store is read, and with a journal a revocation waits for the disk. Both end
// with the context.
type Store struct {
	options atomic.Pointer[Options]
	records *otter.Cache[string, cache.Entry]
	leases  leases
	tags    tags
	upkeep  upkeep
	keeper  *keeper
	journal journal
	started time.Time
	state   atomic.Int32

	// staleFor is how long expired records are retained for stale use, in
	// nanoseconds.
	staleFor atomic.Int64

	expired, evicted atomic.Int64
	// savedEvicted is the value of evicted when the current save began.
	savedEvicted atomic.Int64
	// openDirectory opens the directory of the file. Tests replace it.
	openDirectory func(string) (directory, error)
}

// The states of a store, in their order.
const (
	unread int32 = iota // it has a file that is still to be read
	opened
	closed
)

// New returns a store, which must be closed. It does not open the file before
// the first use.
func New(options Options) (*Store, error) {
	if err := options.complete(); err != nil {
		return nil, err
	}
	s := &Store{started: time.Now(), keeper: newKeeper(), openDirectory: openDirectory}
	s.journal.full = s.keeper.wake
	s.options.Store(&options)
	if options.File == "" {
		s.state.Store(opened)
	}
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

// Adjust changes the options of a store in use. Records stay, unless a lower
// limit leaves no room for them. The store is newer than any file: a file that
// Adjust adds is written but not read, and an existing file there is set aside.
func (s *Store) Adjust(options Options) error {
	if err := options.complete(); err != nil {
		return err
	}
	old := s.options.Swap(&options)
	if options.MaxSize != old.MaxSize {
		s.records.SetMaximum(uint64(options.MaxSize))
	}
	if options.MaxValueSize < old.MaxValueSize {
		for key, entry := range s.records.All() {
			if entry.Record.Size() > options.MaxValueSize {
				s.remove(key)
			}
		}
	}
	s.adjustKeeper()
	return nil
}

func weigh(key string, entry cache.Entry) uint32 {
	return uint32(min(math.MaxUint32, uint64(len(key)+entry.Record.Size()+EntryOverhead)))
}

// remaining is how long otter keeps an entry: until it expires, and then for
// staleFor.
func (s *Store) remaining(e otter.Entry[string, cache.Entry]) time.Duration {
	return time.Duration(e.Value.Expires - e.SnapshotAtNano + min(s.staleFor.Load(), math.MaxInt64-e.Value.Expires))
}

// live reports whether an entry is valid: it has not expired, and none of its
// tags was dropped.
func live(e cache.Entry) bool { return liveAt(e, time.Now()) }

func liveAt(e cache.Entry, now time.Time) bool {
	return e.Record != nil && e.Expires > now.UnixNano() && near.Current(e.Versions)
}

// RetainStale retains the records written from now on for this time after they
// expire.
func (s *Store) RetainStale(d time.Duration) {
	for {
		retained := s.staleFor.Load()
		if int64(d) <= retained || s.staleFor.CompareAndSwap(retained, int64(d)) {
			return
		}
	}
}

// Stale finds a record that expired at most maxAge ago.
func (s *Store) Stale(key string, maxAge time.Duration) (cache.Entry, bool) {
	entry, ok := s.records.GetIfPresent(key)
	return entry, ok && s.state.Load() == opened && near.Current(entry.Versions) && time.Now().UnixNano()-entry.Expires <= int64(maxAge)
}

// DropStale drops a record that has expired.
func (s *Store) DropStale(key string) {
	s.records.ComputeIfPresent(key, func(current cache.Entry) (cache.Entry, otter.ComputeOp) {
		if live(current) {
			return current, otter.CancelOp
		}
		return current, otter.InvalidateOp
	})
}

func (s *Store) count(e otter.DeletionEvent[string, cache.Entry]) {
	switch e.Cause {
	case otter.CauseExpiration:
		s.expired.Add(1)
	case otter.CauseOverflow:
		s.evicted.Add(1)
	}
}

// Close saves the records, if the store has a file, and ends the store's
// goroutines. A store that was never used is not saved.
func (s *Store) Close() error {
	s.state.Store(closed)
	s.keeper.stop()
	s.records.StopAllGoroutines()
	s.upkeep.close()
	return nil
}

func (s *Store) open() error {
	if s.state.Load() == closed {
		return cache.ErrClosed
	}
	return nil
}

// Name is "memory".
func (s *Store) Name() string { return "memory" }

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
	return entry, s.open()
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
	return got, s.open()
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

// Records change only inside otter's Compute, under the lock of their key, and
// so do their leases. So a fill comes wholly before or wholly after any other
// write of its key. The functions given to Compute take no lock but that of the
// leases: calling otter there could deadlock.

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
	s.keeper.changed.Store(true)
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
	s.keeper.changed.Store(true)
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
		s.keeper.changed.Store(true)
	}
	return removed, c
}

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
		entry.Record, entry.Versions, ok = s.tags.bear(record, tags, token)
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
	s.keeper.changed.Store(true)
	if c.Number > 0 {
		return filled, s.journal.add(ctx, c)
	}
	return filled, nil
}

// Release ends a lease that was not used.
func (s *Store) Release(_ context.Context, key, token string) error {
	s.leases.use(key, leaseOf(token))
	return s.open()
}

// Abandon ends a lease whose load filled nothing, and notes how it ended.
func (s *Store) Abandon(_ context.Context, key, token string, ended cache.Ended) error {
	s.leases.abandon(key, leaseOf(token), ended)
	return s.open()
}

// leaseOf returns the token of a lease without the mark that [tags] has
// appended.
func leaseOf(token string) string {
	lease, _, _ := strings.Cut(token, " ")
	return lease
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
