// Package memory is the embedded store: records in this process's memory, for a
// site of one node without Redis. The records end with the process, unless the
// store has a file.
//
// memory.go has the store's beginning and end, options.go its options. records.go
// reads, writes and deletes records, fill.go fills them under a lease, and lease.go
// has the leases; tag.go drops records by tag, scan.go lists them.
//
// persist.go decides when the file is read and written, file.go reads and
// writes it, codec.go has its format, and replace.go replaces it so that a
// crash leaves a complete file. journal.go keeps a crash from bringing back
// what was revoked since the last save, and replay.go reads the journal.
// dir_unix.go refuses files that other users may write to.
package memory

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

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
	saver   *saver
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
	s := &Store{started: time.Now(), saver: newSaver(), openDirectory: openDirectory}
	s.journal.full = s.saver.wake
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
	s.notifySaver()
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
	s.saver.stop()
	s.records.StopAllGoroutines()
	s.upkeep.close()
	return nil
}

// errClosed returns [cache.ErrClosed] after Close, and nil before.
func (s *Store) errClosed() error {
	if s.state.Load() == closed {
		return cache.ErrClosed
	}
	return nil
}

// Name is "memory".
func (s *Store) Name() string { return "memory" }

// Interface guards
var (
	_ cache.Store  = (*Store)(nil)
	_ cache.Peeker = (*Store)(nil)
	_ cache.Staler = (*Store)(nil)
)
