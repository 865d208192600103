// Invalidations that the store did not carry out. Until they are carried out,
// this process uses no record that they concern.

package cache

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrPending says that a record is not used because its invalidation has not
// been carried out yet. It wraps [ErrUnavailable].
var ErrPending = fmt.Errorf("%w: an invalidation of the record is still to be carried out", ErrUnavailable)

// PendingError says that invalidations were not carried out and are pending.
type PendingError struct {
	// Undone is the number of invalidations that were not carried out.
	Undone int
	Err    error
}

func (e *PendingError) Error() string {
	return fmt.Sprintf("%d invalidations are pending: %v", e.Undone, e.Err)
}

func (e *PendingError) Unwrap() error { return e.Err }

const (
	// maxPending limits the number of separate pending invalidations, and
	// maxPendingBytes the total length of their keys, tags and prefixes. Beyond
	// that, the key prefixes of all lookups are invalidated instead.
	maxPending      = 50_000
	maxPendingBytes = 16 << 20
)

const (
	logPending     = "invalidations could not be carried out: this node does not use their records, and retries"
	logPendingDone = "all pending invalidations are carried out"
	logPendingFull = "too many invalidations are pending: no record is used until all records of the lookups are dropped"
	logPendingLost = "invalidations are still pending and end with this process: other nodes and the next process may use their records until they expire"
)

// Pending holds the invalidations that one store has not carried out yet. All
// caches over the same records share it. The zero value is not usable; see
// [NewPending].
type Pending struct {
	logger *slog.Logger
	// some reports whether there are any, so that hits need no lock.
	some atomic.Bool
	// finished counts the invalidations that were carried out. A record that was
	// read before the count changed may be older than the invalidation.
	finished atomic.Uint64

	mu          sync.RWMutex
	items       map[pendingItem]pendingState
	prefixes    []string // the prefixes among the items
	bytes       int
	number      uint64
	since       time.Time
	last        error
	full        bool
	attempts    uint64          // the number of attempts to carry them out
	caches      []*Cache        // the caches that may carry them out, the newest last
	keyPrefixes map[string]bool // of all lookups

	cancel context.CancelFunc // of the goroutine, if it runs
	done   chan struct{}      // closed when the goroutine has ended
}

// pendingItem is one invalidation.
type pendingItem struct {
	kind pendingKind
	text string // key, prefix, or name of the tag
}

// pendingState is the state of an invalidation.
type pendingState struct {
	asked  uint64 // the number of the call that asked for it last
	failed uint64 // the number of the attempt that failed last; 0: none
}

type pendingKind uint8

const (
	pendingKey pendingKind = iota
	pendingTag
	pendingPrefix
)

// NewPending returns a Pending that is empty. It logs to logger, which may be
// nil.
func NewPending(logger *slog.Logger) *Pending {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Pending{logger: logger, items: make(map[pendingItem]pendingState), keyPrefixes: make(map[string]bool)}
}

// PendingStats describes what is pending.
type PendingStats struct {
	Keys     int `json:"keys"`
	Tags     int `json:"tags"`
	Prefixes int `json:"prefixes"`
	// All reports whether there were too many, so that no record of any lookup is
	// used.
	All bool `json:"all"`
	// Since is when the first of them failed.
	Since time.Time `json:"since,omitzero"`
	// Last is the error of the last attempt.
	Last error `json:"-"`
}

// Total is the number of pending invalidations.
func (s PendingStats) Total() int { return s.Keys + s.Tags + s.Prefixes }

// Stats counts what is pending.
func (p *Pending) Stats() PendingStats {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := PendingStats{All: p.full, Since: p.since, Last: p.last}
	for item := range p.items {
		switch item.kind {
		case pendingKey:
			s.Keys++
		case pendingTag:
			s.Tags++
		default:
			s.Prefixes++
		}
	}
	return s
}

// addKeyPrefix notes the key prefix of a lookup.
func (p *Pending) addKeyPrefix(prefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if prefix == "" || p.keyPrefixes[prefix] {
		return
	}
	p.keyPrefixes[prefix] = true
	if p.full {
		p.addLocked(pendingItem{pendingPrefix, prefix})
	}
}

// add notes invalidations that the store did not carry out.
func (p *Pending) add(cause error, kind pendingKind, texts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.items) == 0 {
		p.since = time.Now()
		p.logger.Warn(logPending, slog.Any("error", cause))
	}
	p.last = cause
	p.number++
	for _, text := range texts {
		p.addLocked(pendingItem{kind, text})
	}
	if !p.full && (len(p.items) > maxPending || p.bytes > maxPendingBytes) {
		p.addAllLocked()
	}
	p.some.Store(true)
	p.startLocked()
}

func (p *Pending) addLocked(item pendingItem) {
	if p.full && p.coveredLocked(item) {
		for prefix := range p.keyPrefixes { // from now on they are pending once more
			p.askLocked(pendingItem{pendingPrefix, prefix})
		}
		return
	}
	if _, ok := p.items[item]; !ok {
		p.bytes += len(item.text)
		if item.kind == pendingPrefix {
			p.prefixes = append(p.prefixes, item.text)
		}
	}
	p.askLocked(item)
}

// askLocked notes that the call with the last number asks for an invalidation.
func (p *Pending) askLocked(item pendingItem) {
	state := p.items[item]
	state.asked = p.number
	p.items[item] = state
}

// coveredLocked reports whether an invalidation is covered by those of the key
// prefixes of all lookups. Only records of lookups bear tags, so a tag always
// is.
func (p *Pending) coveredLocked(item pendingItem) bool {
	for prefix := range p.keyPrefixes {
		if item.kind == pendingTag || item.kind == pendingKey && strings.HasPrefix(item.text, prefix) {
			return true
		}
	}
	return false
}

// addAllLocked replaces all items by the key prefixes of all lookups.
func (p *Pending) addAllLocked() {
	if len(p.keyPrefixes) == 0 {
		return // there are no lookups
	}
	p.logger.Error(logPendingFull)
	for item := range p.items {
		if p.coveredLocked(item) {
			p.removeLocked(item)
		}
	}
	for prefix := range p.keyPrefixes {
		p.addLocked(pendingItem{pendingPrefix, prefix})
	}
	p.full = true
}

func (p *Pending) removeLocked(item pendingItem) {
	p.bytes -= len(item.text)
	delete(p.items, item)
	if item.kind == pendingPrefix {
		p.prefixes = slices.DeleteFunc(p.prefixes, func(prefix string) bool { return prefix == item.text })
	}
}

// finish removes invalidations that were carried out, unless they were
// requested again after the number.
func (p *Pending) finish(number uint64, items ...pendingItem) {
	if !p.some.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, item := range items {
		if state, ok := p.items[item]; ok && state.asked <= number {
			p.finished.Add(1) // first, for readers without the lock
			p.removeLocked(item)
		}
	}
	if len(p.items) == 0 && p.some.Load() {
		p.full, p.last, p.since = false, nil, time.Time{}
		p.some.Store(false)
		p.logger.Info(logPendingDone)
	}
}

// lastNumber returns the number for finish: every later add has a higher one.
func (p *Pending) lastNumber() uint64 {
	if !p.some.Load() {
		return 0
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.number
}

// refuses reports whether a record must not be used. A nil record means that
// only the key is known.
func (p *Pending) refuses(key string, record *Record) bool {
	return p.some.Load() && p.refusesOneOf(key, record)
}

func (p *Pending) refusesOneOf(key string, record *Record) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.full {
		return true
	}
	if _, ok := p.items[pendingItem{pendingKey, key}]; ok {
		return true
	}
	if record != nil {
		for _, tag := range record.Tags() {
			if _, ok := p.items[pendingItem{pendingTag, tag.Name}]; ok {
				return true
			}
		}
	}
	return slices.ContainsFunc(p.prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

func itemsOf(kind pendingKind, texts []string) []pendingItem {
	items := make([]pendingItem, len(texts))
	for i, text := range texts {
		items[i] = pendingItem{kind, text}
	}
	return items
}

// SharePending makes the cache share a [Pending] with other caches over the
// same records. It must be called before the cache is used. By default, each
// cache has its own.
func (c *Cache) SharePending(p *Pending) {
	c.pending.detach(c)
	c.pending = p
	p.attach(c)
}

// Pending describes the invalidations that have not been carried out yet.
func (c *Cache) Pending() PendingStats { return c.pending.Stats() }
