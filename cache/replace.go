package cache

import (
	"context"
	"time"
)

// replaceLease is how long a Replace that was interrupted blocks the key.
const replaceLease = time.Second

// Replace writes a record if the store still has old, or nothing, so that it
// never overwrites a later write by another client. Otherwise done is false and
// now is what the store has. If now has no record, another writer holds the
// lease and the caller may try again. old is nil where no record is expected.
// Two records are equal if their texts are.
func (c *Cache) Replace(ctx context.Context, key string, old, record *Record, ttl time.Duration) (now Entry, done bool, err error) {
	token, now, err := c.store.Acquire(ctx, key, old, replaceLease, false)
	if err != nil || token == "" {
		return now, false, err
	}
	defer c.changed(key)
	if now.Old != nil {
		old = now.Old
	}
	done, err = c.store.Fill(ctx, key, token, old, record, nil, ttl)
	return Entry{}, done, err
}
