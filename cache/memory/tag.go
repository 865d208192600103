package memory

import (
	"context"
	"crypto/rand"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// tags holds the current version of each tag. The records that bear a tag hold
// its version; when the last of them is gone, the garbage collector frees the
// version and the tag is forgotten.
type tags struct {
	mu      sync.Mutex
	current map[string]weak.Pointer[near.Version] // by name
	// dropped is the number of drops so far. drops are the names of the latest,
	// each at its number modulo dropsNoted.
	dropped uint64
	drops   [dropsNoted]string
}

// dropsNoted is how many drops are remembered for loads under way. A load
// during which more tags are dropped is not stored with tags.
const dropsNoted = 1000

// obtain returns the current version of a tag. If there is none, it makes one
// of text.
func (t *tags) obtain(name, text string) *near.Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.current[name].Value(); v != nil {
		return v
	}
	if t.current == nil {
		t.current = make(map[string]weak.Pointer[near.Version])
	}
	v := near.NewVersion(text)
	t.current[name] = weak.Make(v)
	runtime.AddCleanup(v, t.forget, name)
	return v
}

// forget removes the name of a tag whose version was freed.
func (t *tags) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current[name].Value() == nil {
		delete(t.current, name)
	}
}

// drop ends the current version of a tag.
func (t *tags) drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped++
	t.drops[t.dropped%dropsNoted] = name
	if v := t.current[name].Value(); v != nil {
		v.End()
	}
	delete(t.current, name)
}

// mark returns the number of drops so far.
func (t *tags) mark() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

// droppedSince reports whether one of the tags was dropped since a mark, or may
// have been.
func (t *tags) droppedSince(mark uint64, names []string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mark > t.dropped || t.dropped-mark > dropsNoted {
		return true
	}
	for n := mark + 1; n <= t.dropped; n++ {
		if slices.Contains(names, t.drops[n%dropsNoted]) {
			return true
		}
	}
	return false
}

// droppedLately reports whether a tag is among the latest drops.
func (t *tags) droppedLately(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.drops[:], name)
}

// versionsOf returns the current versions of the record's tags, for a record
// that is to be stored. A version has ended if it is not the one in the record.
func (t *tags) versionsOf(record *cache.Record) []*near.Version {
	var versions []*near.Version
	for _, tag := range record.Tags() {
		v := t.currentVersion(tag.Name)
		if v == nil || v.Text() != tag.Version {
			v = near.EndedVersion(tag.Version)
		}
		versions = append(versions, v)
	}
	return versions
}

// currentVersion returns the current version of a tag, or nil.
func (t *tags) currentVersion(name string) *near.Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current[name].Value()
}

// addTo returns the record with the current versions of the tags. ok is false if
// one of the tags was dropped since the lease of the token was taken.
func (t *tags) addTo(record *cache.Record, tags []string, token string) (tagged *cache.Record, versions []*near.Version, ok bool) {
	_, text, _ := strings.Cut(token, " ")
	mark, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, nil, false
	}
	var names []string
	texts := make(map[string]string)
	for _, tag := range tags {
		name := cache.TagName(tag)
		v := t.obtain(name, rand.Text()[:16])
		names, versions, texts[name] = append(names, name), append(versions, v), v.Text()
	}
	// a later drop ends these versions
	return record.WithTags(texts), versions, !t.droppedSince(mark, names)
}

// adopt adds the record's tags to the store and returns their versions. ok is
// false if a tag has another version here or was dropped lately.
func (t *tags) adopt(record *cache.Record) (versions []*near.Version, ok bool) {
	ok = true
	for _, tag := range record.Tags() {
		if tag.Version == "" || t.currentVersion(tag.Name) == nil && t.droppedLately(tag.Name) {
			return nil, false
		}
		v := t.obtain(tag.Name, tag.Version)
		ok = ok && v.Text() == tag.Version
		versions = append(versions, v)
	}
	return versions, ok
}

// DropTag drops the records that bear a tag.
func (s *Store) DropTag(ctx context.Context, tag string) error {
	if tag == "" {
		return errors.New("dropping a tag: the tag is empty")
	}
	if err := s.await(ctx); err != nil {
		return err
	}
	name := cache.TagName(tag)
	s.tags.drop(name)
	s.saver.changed.Store(true)
	if err := s.noteDrop(ctx, tagDropped, name); err != nil {
		return err
	}
	return s.errClosed()
}

// AdoptTags adds the tags of records from another store.
func (s *Store) AdoptTags(ctx context.Context, records []*cache.Record, _ time.Duration) ([]bool, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	valid := make([]bool, len(records))
	for i, record := range records {
		_, valid[i] = s.tags.adopt(record)
	}
	return valid, s.errClosed()
}
