package memory

import (
	"context"
	"errors"
	"iter"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// tags knows which keys bear which tag, until when.
type tags struct {
	mu      sync.Mutex
	bearers map[string]map[string]time.Time // tag, key: until when
	dropped map[string]time.Time            // tag: when
	pruneAt int                             // number of tags at which to look for what has expired
	// saving has the tags of each key while the store is saved, else nil.
	saving map[string][]savedTag
}

// add notes that a key bears a tag, and tells when the tag was last dropped.
func (t *tags) add(tag, key string, until, now time.Time) (dropped time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prune(now)
	keys := t.bearers[tag]
	if keys == nil {
		keys = make(map[string]time.Time)
		t.bearers[tag] = keys
	}
	// each time the number of keys has doubled, so that it costs little a key
	if _, known := keys[key]; !known && len(keys) >= minPrune && bits.OnesCount(uint(len(keys))) == 1 {
		removeBefore(keys, now)
	}
	keys[key] = until
	if t.saving != nil {
		t.saving[key] = append(t.saving[key], savedTag{[]byte(tag), until.UnixNano()})
	}
	return t.dropped[tag]
}

const (
	// tagOverhead is what a tag costs beside its name, with the first key that
	// bears it, and bearerOverhead what each further key does; in bytes, as
	// measured.
	tagOverhead    = 460
	bearerOverhead = 80
)

// weigh tells what it costs to note that one more key bears a tag.
func (t *tags) weigh(tag string) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bearers[tag] != nil {
		return bearerOverhead
	}
	return int64(len(tag)) + tagOverhead
}

// beginSave notes which tags each key bears, until endSave. A key has its tags
// before it has its record, so what is seen among the records from now on has
// all its tags here.
func (t *tags) beginSave() {
	t.mu.Lock()
	t.saving = make(map[string][]savedTag)
	t.mu.Unlock()
	for _, tag := range t.names() {
		name := []byte(tag)
		t.mu.Lock()
		for key, until := range t.bearers[tag] {
			t.saving[key] = append(t.saving[key], savedTag{name, until.UnixNano()})
		}
		t.mu.Unlock()
	}
}

// saved are the tags of a key between beginSave and endSave.
func (t *tags) saved(key string) []savedTag {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.saving[key]
}

func (t *tags) endSave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.saving = nil
}

// drop takes the keys of a tag, and remembers when.
func (t *tags) drop(tag string, now time.Time) (keys []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prune(now)
	t.dropped[tag] = now
	for key := range t.bearers[tag] {
		keys = append(keys, key)
	}
	delete(t.bearers, tag)
	return keys
}

// prune looks through everything each time the number of tags has doubled.
func (t *tags) prune(now time.Time) {
	if t.bearers == nil {
		t.bearers, t.dropped = make(map[string]map[string]time.Time), make(map[string]time.Time)
		t.pruneAt = minPrune
	}
	if len(t.bearers)+len(t.dropped) < t.pruneAt {
		return
	}
	for tag, keys := range t.bearers {
		removeBefore(keys, now)
		if len(keys) == 0 {
			delete(t.bearers, tag)
		}
	}
	removeBefore(t.dropped, now.Add(-cache.TagMemory))
	t.pruneAt = max(minPrune, 2*(len(t.bearers)+len(t.dropped)))
}

func removeBefore(times map[string]time.Time, limit time.Time) {
	for name, at := range times {
		if at.Before(limit) {
			delete(times, name)
		}
	}
}

// Tag notes that a key bears tags.
func (s *Store) Tag(ctx context.Context, key string, tags []string, ttl time.Duration, began time.Time) (bool, error) {
	if _, err := s.expires(ctx, ttl); err != nil {
		return false, err
	}
	now := time.Now()
	for _, tag := range tags {
		if dropped := s.tags.add(tag, key, now.Add(ttl), now); !dropped.Before(began) {
			return false, nil
		}
	}
	s.keeper.changed.Store(true)
	return time.Since(began) < cache.TagMemory, nil
}

// DeleteTag drops the records that bear a tag.
func (s *Store) DeleteTag(ctx context.Context, tag string) (int, error) {
	if tag == "" {
		return 0, errors.New("deleting by tag: the tag is empty")
	}
	if err := s.await(ctx); err != nil {
		return 0, err
	}
	return s.Delete(ctx, s.tags.drop(tag, time.Now())...)
}

// Tags lists the keys that bear tags, a tag at a time.
func (s *Store) Tags(ctx context.Context) iter.Seq2[cache.Tagged, error] {
	return func(yield func(cache.Tagged, error) bool) {
		if err := s.await(ctx); err != nil {
			yield(cache.Tagged{}, err)
			return
		}
		for _, tag := range s.tags.names() {
			for key, until := range s.tags.of(tag) {
				if !until.After(time.Now()) {
					continue
				}
				if !yield(cache.Tagged{Tag: tag, Key: key, Expires: until.UnixNano()}, nil) {
					return
				}
			}
		}
		if err := s.open(); err != nil {
			yield(cache.Tagged{}, err)
		}
	}
}

func (t *tags) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.bearers))
}

// of is the keys of a tag, as they are now.
func (t *tags) of(tag string) map[string]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.bearers[tag])
}
