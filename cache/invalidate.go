// Dropping records: by key, by prefix and by tag.

package cache

import (
	"context"
	"errors"
)

// deleteBatch is the most keys that one call of the store deletes.
const deleteBatch = 500

// Delete drops records on every node and returns how many there were. A load
// that began before Delete cannot bring the old record back. Where the store
// fails, the error is a [PendingError]: this process does not use the records
// from then on and retries until they are dropped.
func (c *Cache) Delete(ctx context.Context, keys ...string) (deleted int, err error) {
	number := c.pending.lastNumber()
	for len(keys) > 0 {
		part := keys[:min(len(keys), deleteBatch)]
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
	ctx, cancel := c.withTimeout(ctx, len(keys))
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
	number := c.pending.lastNumber()
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
	number := c.pending.lastNumber()
	err := c.dropTag(ctx, tag)
	if err != nil {
		return c.postpone(err, pendingTag, TagName(tag))
	}
	c.pending.finish(number, pendingItem{pendingTag, TagName(tag)})
	return nil
}

func (c *Cache) dropTag(ctx context.Context, tag string) error {
	defer c.loads.forgetAll()
	ctx, cancel := c.withTimeout(ctx, 1)
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
