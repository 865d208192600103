// Reading all records there are, for a backup.

package cache

import (
	"context"
	"iter"
	"slices"
)

const (
	// listKeys is how many keys are looked for at a time,
	listKeys = 1000
	// readKeys how many are read at a time: so many of the largest records
	// are in memory at once.
	readKeys = 64
)

// Listed is what is stored under a key.
type Listed struct {
	Key string
	Got
}

// Records lists what is stored under keys with the prefix, in no order, and
// ends with an error where it cannot go on. Its own errors aside, one of a
// [Listed] says that what is there is no record. What is there all the while
// is listed at least once; a shared store may list it twice. It takes no more
// memory than a few dozen records.
func (c *Cache) Records(ctx context.Context, prefix string) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		for cursor, more := "", true; more; more = cursor != "" {
			keys, next, err := c.store.Scan(ctx, prefix, cursor, listKeys)
			if err != nil {
				yield(Listed{}, err)
				return
			}
			cursor = next
			slices.Sort(keys)
			for part := range slices.Chunk(slices.Compact(keys), readKeys) {
				got, err := c.store.GetMany(ctx, part)
				if err != nil {
					yield(Listed{}, err)
					return
				}
				for i, key := range part {
					gone := got[i].Record == nil && got[i].Err == nil
					if !gone && !yield(Listed{Key: key, Got: got[i]}, nil) {
						return
					}
				}
			}
		}
	}
}
