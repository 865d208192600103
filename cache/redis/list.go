package redis

import (
	"context"
	"iter"
	"slices"

	"github.com/filewallball/caddy-filewallball/cache"
)

// readKeys is how many keys of a list are read at a time. It bounds how many
// records are in memory.
const readKeys = 64

// Records lists the records of one master after the other. While a server
// resizes its table, or a cluster changes, a key may be listed twice.
func (s *Store) Records(ctx context.Context, prefix string) iter.Seq2[cache.Listed, error] {
	return func(yield func(cache.Listed, error) bool) {
		for cursor, more := "", true; more; more = cursor != "" {
			keys, next, err := s.Scan(ctx, prefix, cursor, scanCount)
			if err != nil {
				yield(cache.Listed{}, err)
				return
			}
			cursor = next
			slices.Sort(keys)
			for part := range slices.Chunk(slices.Compact(keys), readKeys) {
				if !s.yieldRecords(ctx, part, yield) {
					return
				}
			}
		}
	}
}

// yieldRecords reads the records of keys and passes on those that are still there. It
// reports whether the caller wants more.
func (s *Store) yieldRecords(ctx context.Context, keys []string, yield func(cache.Listed, error) bool) bool {
	got, err := s.GetMany(ctx, keys)
	if err != nil {
		yield(cache.Listed{}, err)
		return false
	}
	for i, key := range keys {
		gone := got[i].Record == nil && got[i].Err == nil
		if !gone && !yield(cache.Listed{Key: key, Got: got[i]}, nil) {
			return false
		}
	}
	return true
}
