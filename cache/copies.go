// The copies of records that this process keeps of a store which others write
// to as well; see package near.

package cache

import (
	"context"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

// fromNear is what a hit in the near cache is told to come from.
const fromNear = "near"

// Watched is a [Store] that tells of every write to its keys, by whomever.
type Watched interface {
	// Watch tells the sink of writes to keys with the prefix, and how far it
	// may trust that it is told. It may be called again for more prefixes.
	Watch(prefix string, sink near.Sink)
}

// EndWatched is a [Watched] store that also tells of loads that end without
// filling their key.
type EndWatched interface {
	// EndedKey is the key that the sink hears of when a load of a key ends so.
	EndedKey(key string) string
}

// EnableNear makes the cache keep copies of records in this process, where the
// store tells of writes. It must be called before the first lookup is made.
func (c *Cache) EnableNear(options near.Options) {
	if _, ok := c.store.(Watched); ok {
		c.near = near.New[*Record](options)
	}
}

// Near describes the copies; the zero value where none are kept.
func (c *Cache) Near() near.Stats {
	if c.near == nil {
		return near.Stats{}
	}
	return c.near.Stats()
}

func (c *Cache) watchPrefix(prefix string) {
	if c.near != nil {
		c.store.(Watched).Watch(prefix, wakingSink{c.near, &c.waits})
	}
}

// listen is told when another load of a key ends, by filling it or otherwise.
func (c *Cache) listen(key string) (woken <-chan struct{}, stop func()) {
	if watched, ok := c.store.(EndWatched); ok {
		return c.waits.listen(key, watched.EndedKey(key))
	}
	return c.waits.listen(key)
}

// ticket is drawn before the store is asked for what may be copied.
func (c *Cache) ticket(key string, strict bool) near.Ticket[*Record] {
	if c.near == nil {
		return near.Ticket[*Record]{}
	}
	return c.near.Begin(key, strict)
}

func entryOf(c near.Copy[*Record]) Entry {
	return Entry{Record: c.Record, Expires: c.Expires, Versions: c.Versions}
}

func copyOf(e Entry) near.Copy[*Record] {
	return near.Copy[*Record]{Record: e.Record, Expires: e.Expires, Versions: e.Versions}
}

// changed ends all copies in this process that are older than a write of ours
// which the store has answered.
func (c *Cache) changed(keys ...string) {
	c.loads.forget(keys...)
	if c.near != nil {
		c.near.Invalidate(keys...)
	}
	c.waits.wake(keys...)
}

// changedAll is changed for every key.
func (c *Cache) changedAll() {
	c.loads.forgetAll()
	if c.near != nil {
		c.near.Flush()
	}
	c.waits.wakeEverybody()
}

// Staler is a [Store] that retains records after they have expired.
type Staler interface {
	// RetainStale keeps records for at least as long after they expired.
	RetainStale(time.Duration)
	// Stale finds a record that expired at most maxAge ago.
	Stale(key string, maxAge time.Duration) (Entry, bool)
	// DropStale drops a record that has expired, as what is kept for [Staler.Stale]
	// is known to be wrong.
	DropStale(key string)
}

// stale finds an old record for a lookup that would end in an error otherwise.
func (l *Lookup) stale(ctx context.Context, req Request) (Result, bool) {
	if l.options.StaleIfError == 0 || ctx.Err() != nil {
		return Result{}, false
	}
	var entry Entry
	ok, now := false, time.Now()
	if staler, is := l.cache.store.(Staler); is {
		entry, ok = staler.Stale(req.Key, l.options.StaleIfError)
	} else if l.cache.near != nil {
		var copied near.Copy[*Record]
		copied, ok = l.cache.near.Stale(req.Key, l.options.StaleIfError, now)
		entry = entryOf(copied)
	}
	// an old refusal or absence is no help
	if !ok || entry.Record.state != Found {
		return Result{}, false
	}
	record, ok := l.current(ctx, req, entry.Record, now)
	if !ok || record.state != Found {
		return Result{}, false
	}
	r := Result{Outcome: OutcomeStale, Record: record, Hit: true, TTL: NoExpiry}
	if entry.Expires != 0 {
		r.TTL = time.Duration(entry.Expires - now.UnixNano())
	}
	return r, true
}

// correctStale makes what is kept for stale use agree with an answer of the
// source that is not in the store: so who was refused is not let in afterwards
// by an older record. The ticket is from before the source was asked.
func (l *Lookup) correctStale(key string, ticket near.Ticket[*Record], loaded Loaded) {
	if staler, ok := l.cache.store.(Staler); ok {
		staler.DropStale(key)
	}
	answered := loaded.Record
	if answered != nil && (answered.state != Found || loaded.NoStore) {
		answered = nil
	}
	ticket.Correct(answered, time.Now())
}
