// Invalidations that the store did not carry out. They are remembered: until
// they are carried out, this process uses no record that they concern, and
// retries them in the background.

package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrPending says that a record is not used because its invalidation has not
// been carried out yet. It wraps [ErrUnavailable].
var ErrPending = fmt.Errorf("%w: an invalidation of the record is still to be carried out", ErrUnavailable)

const (
	// maxPending limits the number of separate pending invalidations, and
	// maxPendingBytes the total length of their keys, tags and prefixes. Beyond
	// that, the key prefixes of all lookups are invalidated instead.
	maxPending      = 50_000
	maxPendingBytes = 16 << 20

	// the shortest and the longest pause between attempts
	pendingPauseMin = 50 * time.Millisecond
	pendingPauseMax = time.Second
	// the timeouts of one attempt: for keys and tags, and for prefixes
	pendingTimeout       = 2 * time.Second
	pendingPrefixTimeout = time.Minute

	// the number of keys in one attempt
	pendingBatch = 500
)

const (
	logPending     = "invalidations could not be carried out: their records are not used here, and they are tried again"
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

	mu       sync.RWMutex
	items    map[pendingItem]uint64 // the number of the call that asked for it last
	prefixes []string               // the prefixes among the items
	bytes    int
	number   uint64
	since    time.Time
	last     error
	full     bool
	caches   []*Cache        // the caches that may carry them out, the newest last
	known    map[string]bool // prefixes of the keys of all lookups

	cancel context.CancelFunc // of the goroutine, if it runs
	done   chan struct{}      // closed when the goroutine has ended
}

// pendingItem is one invalidation.
type pendingItem struct {
	kind pendingKind
	text string // key, prefix, or name of the tag
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
	return &Pending{logger: logger, items: make(map[pendingItem]uint64), known: make(map[string]bool)}
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

// attach makes a cache one of those that carry out pending invalidations.
func (p *Pending) attach(c *Cache) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.caches = append(p.caches, c)
	p.startLocked()
}

// detach ends what attach began. The last cache makes one more attempt first;
// what is left then waits for the next cache.
func (p *Pending) detach(c *Cache) {
	p.mu.RLock()
	last := len(p.caches) == 1 && len(p.items) > 0
	p.mu.RUnlock()
	if last {
		p.attempt(context.Background(), c, pendingTimeout)
	}
	p.mu.Lock()
	p.caches = slices.DeleteFunc(p.caches, func(other *Cache) bool { return other == c })
	lost := len(p.caches) == 0 && len(p.items) > 0
	done := p.done
	if len(p.caches) == 0 && p.cancel != nil {
		p.cancel()
	} else {
		done = nil
	}
	p.mu.Unlock()
	if done != nil {
		<-done
	}
	if lost {
		p.logger.Error(logPendingLost)
	}
}

// know notes the key prefix of a lookup.
func (p *Pending) know(prefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if prefix == "" || p.known[prefix] {
		return
	}
	p.known[prefix] = true
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
		for prefix := range p.known { // from now on they are pending once more
			p.items[pendingItem{pendingPrefix, prefix}] = p.number
		}
		return
	}
	if _, ok := p.items[item]; !ok {
		p.bytes += len(item.text)
		if item.kind == pendingPrefix {
			p.prefixes = append(p.prefixes, item.text)
		}
	}
	p.items[item] = p.number
}

// coveredLocked reports whether an invalidation is covered by those of the key
// prefixes of all lookups. Only records of lookups bear tags, so a tag always
// is.
func (p *Pending) coveredLocked(item pendingItem) bool {
	for prefix := range p.known {
		if item.kind == pendingTag || item.kind == pendingKey && strings.HasPrefix(item.text, prefix) {
			return true
		}
	}
	return false
}

// addAllLocked replaces all items by the key prefixes of all lookups.
func (p *Pending) addAllLocked() {
	if len(p.known) == 0 {
		return // there are no lookups
	}
	p.logger.Error(logPendingFull)
	for item := range p.items {
		if p.coveredLocked(item) {
			p.removeLocked(item)
		}
	}
	for prefix := range p.known {
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
		if n, ok := p.items[item]; ok && n <= number {
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

// call returns a number for finish: every later add has a higher one.
func (p *Pending) call() uint64 {
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

// startLocked starts the goroutine that retries. It ends when nothing is
// pending or no cache is left to carry it out.
func (p *Pending) startLocked() {
	if p.cancel != nil || len(p.items) == 0 || len(p.caches) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go p.run(ctx, p.done)
}

func (p *Pending) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	for pause := pendingPauseMin; ; pause = min(2*pause, pendingPauseMax) {
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		c := p.executor()
		if c == nil {
			return
		}
		p.attempt(ctx, c, pendingPrefixTimeout)
	}
}

// executor returns the cache that carries out what is pending, or nil where the
// goroutine must end.
func (p *Pending) executor() *Cache {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.items) == 0 || len(p.caches) == 0 {
		p.cancel()
		p.cancel = nil
		return nil
	}
	return p.caches[len(p.caches)-1]
}

// attempt tries to carry out what is pending, until something fails.
func (p *Pending) attempt(ctx context.Context, c *Cache, prefixTimeout time.Duration) {
	p.mu.RLock()
	number := p.number
	byKind := make(map[pendingKind][]string)
	for item := range p.items {
		byKind[item.kind] = append(byKind[item.kind], item.text)
	}
	p.mu.RUnlock()
	err := func() error {
		for _, tag := range byKind[pendingTag] {
			if err := try(ctx, pendingTimeout, func(ctx context.Context) error { return c.dropTag(ctx, tag) }); err != nil {
				return err
			}
			p.dropCopies(c)
			p.finish(number, pendingItem{pendingTag, tag})
		}
		for keys := range slices.Chunk(byKind[pendingKey], pendingBatch) {
			if err := try(ctx, pendingTimeout, func(ctx context.Context) error { _, err := c.deleteKeys(ctx, keys); return err }); err != nil {
				return err
			}
			p.dropCopies(c)
			p.finish(number, itemsOf(pendingKey, keys)...)
		}
		for _, prefix := range byKind[pendingPrefix] {
			if err := try(ctx, prefixTimeout, func(ctx context.Context) error { _, err := c.deletePrefix(ctx, prefix); return err }); err != nil {
				return err
			}
			p.dropCopies(c)
			p.finish(number, pendingItem{pendingPrefix, prefix})
		}
		return nil
	}()
	if err != nil {
		p.mu.Lock()
		p.last = err
		p.mu.Unlock()
	}
}

// dropCopies drops the near copies of the other caches that share the Pending,
// such as that of an older configuration which still serves requests: the store
// reports the change to them only later.
func (p *Pending) dropCopies(by *Cache) {
	p.mu.RLock()
	caches := slices.Clone(p.caches)
	p.mu.RUnlock()
	for _, c := range caches {
		if c != by {
			c.changedAll()
		}
	}
}

func try(ctx context.Context, timeout time.Duration, invalidate func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return invalidate(ctx)
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

// Delete drops records on every node and returns how many there were. A load
// that began before Delete cannot bring the old record back. Where the store
// fails, the error is a [PendingError]: this process does not use the records
// from then on and retries until they are dropped.
func (c *Cache) Delete(ctx context.Context, keys ...string) (deleted int, err error) {
	number := c.pending.call()
	for len(keys) > 0 {
		part := keys[:min(len(keys), pendingBatch)]
		n, err := c.deleteKeys(ctx, part)
		deleted += n
		if err != nil {
			return deleted, c.postpone(err, pendingKey, keys...)
		}
		c.pending.finish(number, itemsOf(pendingKey, part)...)
		keys = keys[len(part):]
	}
	return deleted, nil
}

func (c *Cache) deleteKeys(ctx context.Context, keys []string) (int, error) {
	defer c.changed(keys...)
	ctx, cancel := c.bounded(ctx, len(keys))
	defer cancel()
	return c.store.Delete(ctx, keys...)
}

// errEmpty says that a prefix or tag is empty: it would concern everything, or
// nothing.
var errEmpty = errors.New("prefix or tag is empty")

// DeletePrefix is Delete for every key with the prefix, which must not be empty.
func (c *Cache) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	if prefix == "" {
		return 0, errEmpty
	}
	number := c.pending.call()
	deleted, err := c.deletePrefix(ctx, prefix)
	if err != nil {
		return deleted, c.postpone(err, pendingPrefix, prefix)
	}
	c.pending.finish(number, pendingItem{pendingPrefix, prefix})
	return deleted, nil
}

func (c *Cache) deletePrefix(ctx context.Context, prefix string) (int, error) {
	defer c.changedAll()
	return c.store.DeletePrefix(ctx, prefix)
}

// DropTag is Delete for every record that bears the tag. The time that it takes
// does not depend on the number of records. The tag must not be empty.
func (c *Cache) DropTag(ctx context.Context, tag string) error {
	if tag == "" {
		return errEmpty
	}
	number := c.pending.call()
	err := c.dropTag(ctx, tag)
	if err != nil {
		return c.postpone(err, pendingTag, TagName(tag))
	}
	c.pending.finish(number, pendingItem{pendingTag, TagName(tag)})
	return nil
}

func (c *Cache) dropTag(ctx context.Context, tag string) error {
	defer c.loads.forgetAll()
	ctx, cancel := c.bounded(ctx, 1)
	defer cancel()
	return c.store.DropTag(ctx, tag)
}

// postpone makes pending what could not be carried out.
func (c *Cache) postpone(cause error, kind pendingKind, texts ...string) error {
	c.pending.add(cause, kind, texts...)
	if kind == pendingKey {
		c.changed(texts...)
	} else {
		c.loads.forgetAll()
	}
	return &PendingError{Undone: len(texts), Err: cause}
}
