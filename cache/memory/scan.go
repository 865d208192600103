package memory

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/filewallball/caddy-filewallball/cache"
)

// DeletePrefix drops every record with the prefix and ends the leases of such
// keys, including keys without a record.
func (s *Store) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	if prefix == "" {
		return 0, errors.New("deleting by prefix: the prefix is empty")
	}
	if err := s.await(ctx); err != nil {
		return 0, err
	}
	// leases end first: a fill is then refused, or its key is listed below
	s.leases.endPrefix(prefix)
	var keys []string
	for key, entry := range s.records.All() {
		if strings.HasPrefix(key, prefix) && live(entry) {
			keys = append(keys, key)
		}
	}
	removed := 0
	for _, key := range keys {
		if s.remove(key) {
			removed++
		}
	}
	return removed, s.noteDrop(ctx, prefixDropped, prefix)
}

// noteDrop notes a drop of many keys after it is done, so that its number is
// above that of all changes that it covers.
func (s *Store) noteDrop(ctx context.Context, kind, name string) error {
	if c := s.change(kind, name); c.Number > 0 {
		return s.journal.add(ctx, c)
	}
	return nil
}

// Scan lists keys in ascending order. The cursor is the last key of the
// previous page. Each page visits all keys of the store but holds only its own.
func (s *Store) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	if err := s.await(ctx); err != nil {
		return nil, "", err
	}
	limit = max(1, limit)
	for key, entry := range s.records.All() {
		if !live(entry) || !strings.HasPrefix(key, prefix) || cursor != "" && key <= cursor {
			continue
		}
		if keys = append(keys, key); len(keys) > 2*limit {
			slices.Sort(keys)
			keys = keys[:limit+1] // the key beyond the limit shows that there is a next page
		}
	}
	slices.Sort(keys)
	if len(keys) > limit {
		keys = keys[:limit]
		next = keys[limit-1]
	}
	if err := s.errClosed(); err != nil {
		return nil, "", err
	}
	return keys, next, nil
}

// Records lists each record once.
func (s *Store) Records(ctx context.Context, prefix string) iter.Seq2[cache.Listed, error] {
	return func(yield func(cache.Listed, error) bool) {
		if err := s.await(ctx); err != nil {
			yield(cache.Listed{}, err)
			return
		}
		for key, entry := range s.records.All() {
			if err := errors.Join(s.errClosed(), ctx.Err()); err != nil {
				yield(cache.Listed{}, err)
				return
			}
			if live(entry) && strings.HasPrefix(key, prefix) && !yield(cache.Listed{Key: key, Got: cache.Got{Entry: entry}}, nil) {
				return
			}
		}
		if err := s.errClosed(); err != nil {
			yield(cache.Listed{}, err)
		}
	}
}
