// What is done to records by hand: one at a time and in batches, by the
// administrator and by those who use this package as a library.

package cache

import (
	"context"
	"time"
)

// Store is the store underneath, for what does not change records.
func (c *Cache) Store() Store { return c.store }

// Get reads a record, past all statistics.
func (c *Cache) Get(ctx context.Context, key string) (Entry, error) {
	return c.store.Get(ctx, key)
}

// GetMany reads many keys in as few round trips as it takes.
func (c *Cache) GetMany(ctx context.Context, keys []string) ([]Got, error) {
	return c.store.GetMany(ctx, keys)
}

// Exists tells whether a record is stored under the key.
func (c *Cache) Exists(ctx context.Context, key string) (bool, error) {
	entry, err := c.store.Get(ctx, key)
	return entry.Record != nil, err
}

// TTL tells how long a record has left; ok is false where there is none.
func (c *Cache) TTL(ctx context.Context, key string) (ttl time.Duration, ok bool, err error) {
	entry, err := c.store.Get(ctx, key)
	return entry.TTL(time.Now()), entry.Record != nil, err
}

// Set writes a record on every node: who looks it up from then on sees this
// one or a newer one.
func (c *Cache) Set(ctx context.Context, key string, record *Record, ttl time.Duration) error {
	defer c.changed(key)
	return c.store.Set(ctx, key, record, ttl)
}

// SetMany is Set for many records in as few round trips as it takes.
func (c *Cache) SetMany(ctx context.Context, items []Item) error {
	defer c.changed(keysOf(items)...)
	return c.store.SetMany(ctx, items)
}

// AddMany writes the records whose keys have none and are not being loaded,
// and tells how many.
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

// Delete drops records on every node and tells how many there were. A load
// that began before it cannot bring the old record back.
func (c *Cache) Delete(ctx context.Context, keys ...string) (int, error) {
	defer c.changed(keys...)
	return c.store.Delete(ctx, keys...)
}

// DeletePrefix is Delete for every key with the prefix.
func (c *Cache) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	defer c.changedAll()
	return c.store.DeletePrefix(ctx, prefix)
}

// DropTag drops every record that bears the tag, on every node, in a time that
// does not depend on how many there are. A load that began before it cannot
// bring an old record back.
func (c *Cache) DropTag(ctx context.Context, tag string) error {
	defer c.loads.forgetAll()
	return c.store.DropTag(ctx, tag)
}
