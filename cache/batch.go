// Reading and writing records without a lookup, one at a time and in batches:
// for the admin API, and for other users of this package.

package cache

import (
	"context"
	"time"
)

// Store is the store of the cache. Write records through the cache, which also
// drops near copies of them.
func (c *Cache) Store() Store { return c.store }

// Get reads a record. It does not count as a lookup. Where the record is not used
// because its invalidation is pending, the error wraps [ErrPending].
func (c *Cache) Get(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := c.withTimeout(ctx, 1)
	defer cancel()
	entry, err := c.store.Get(ctx, key)
	if err == nil && c.pending.refuses(key, entry.Record) {
		return Entry{}, ErrPending
	}
	return entry, err
}

// Get is [Cache.Get], decoded where the lookup has a decoder.
func (l *Lookup) Get(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := l.cache.withTimeout(ctx, 1)
	defer cancel()
	entry, err := l.read(ctx, key)
	if err == nil && l.cache.pending.refuses(key, entry.Record) {
		return Entry{}, ErrPending
	}
	return entry, err
}

// GetMany is Get for many keys, in as few round trips as it takes.
func (c *Cache) GetMany(ctx context.Context, keys []string) ([]Got, error) {
	got, err := c.store.GetMany(ctx, keys)
	for i := range got {
		if got[i].Err == nil && c.pending.refuses(keys[i], got[i].Record) {
			got[i] = Got{Err: ErrPending}
		}
	}
	return got, err
}

// Exists reports whether a record is stored under the key.
func (c *Cache) Exists(ctx context.Context, key string) (bool, error) {
	entry, err := c.Get(ctx, key)
	return entry.Record != nil, err
}

// TTL returns the remaining TTL of a record; ok is false where there is no record.
func (c *Cache) TTL(ctx context.Context, key string) (ttl time.Duration, ok bool, err error) {
	entry, err := c.Get(ctx, key)
	return entry.TTL(time.Now()), entry.Record != nil, err
}

// Set writes a record. A lookup on this node that begins after Set has returned
// finds this record or a newer one. Other nodes follow as soon as the store has
// reported the write; see package near.
func (c *Cache) Set(ctx context.Context, key string, record *Record, ttl time.Duration) error {
	return c.SetMany(ctx, []Item{{Key: key, Record: record, TTL: ttl}})
}

// SetMany is Set for many records in as few round trips as it takes.
func (c *Cache) SetMany(ctx context.Context, items []Item) error {
	keys := keysOf(items)
	defer c.changed(keys...)
	number := c.pending.lastNumber()
	ctx, cancel := c.withTimeout(ctx, len(items))
	defer cancel()
	if err := c.store.SetMany(ctx, items); err != nil {
		return err
	}
	// pending invalidations of these keys are obsolete: the record is overwritten
	c.pending.finish(number, itemsOf(pendingKey, keys)...)
	return nil
}

// AddMany writes the records whose keys have none and are not being loaded, and
// returns how many it wrote.
func (c *Cache) AddMany(ctx context.Context, items []Item) (added int, err error) {
	defer c.changed(keysOf(items)...)
	return c.store.AddMany(ctx, items)
}

func keysOf(items []Item) []string {
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = item.Key
	}
	return keys
}
