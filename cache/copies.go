// Near copies: copies in this process of the records of a shared store. See
// package near.

package cache

import (
	"context"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

// fromNear is the [Result.From] of a hit in the near cache.
const fromNear = "near"

// Watched is a [Store] that reports every write to its keys, by any client.
type Watched interface {
	// Watch reports to the sink the writes to keys with the prefix, and how far these
	// reports can be trusted. It may be called again for more prefixes.
	Watch(prefix string, sink near.Sink)
}

// EndWatched is a [Watched] store that also reports loads that end without filling
// their key.
type EndWatched interface {
	// EndedKey returns the key that is reported to the sink when a load of key ends
	// without filling it.
	EndedKey(key string) string
}

// EnableNear makes the cache keep near copies, if the store reports writes. It
// must be called before the first lookup is made.
func (c *Cache) EnableNear(options near.Options) {
	if _, ok := c.store.(Watched); ok {
		c.near = near.New[Record](options)
	}
}

// Near describes the near copies; it is the zero value where none are kept.
func (c *Cache) Near() near.Stats {
	if c.near == nil {
		return near.Stats{}
	}
	return c.near.Stats()
}

// NearDoubt is why near copies are not trusted.
type NearDoubt struct {
	Since time.Time
	// Address is that of the server that does not report writes.
	Address string
	// Reason is what it said, or why there is no answer; "" where it is not known.
	Reason string
}

// NearDoubt returns why near copies are not trusted. ok is false where they are,
// where none are kept, and where the store cannot say why.
func (c *Cache) NearDoubt() (doubt NearDoubt, ok bool) {
	store, can := c.store.(interface{ NearDoubt() (NearDoubt, bool) })
	if !can || c.near == nil || c.near.Coherent() {
		return NearDoubt{}, false
	}
	return store.NearDoubt()
}

func (c *Cache) watchPrefix(prefix string) {
	if c.near != nil {
		c.store.(Watched).Watch(prefix, wakingSink{c.near, &c.waits})
	}
}

// listen returns a channel that receives when another load of the key ends,
// whether or not it filled the key.
func (c *Cache) listen(key string) (woken <-chan struct{}, stop func()) {
	if watched, ok := c.store.(EndWatched); ok {
		return c.waits.listen(key, watched.EndedKey(key))
	}
	return c.waits.listen(key)
}

// ticket returns a ticket that must be drawn before the store is read, so that the
// near cache refuses a copy whose key was written meanwhile.
func (c *Cache) ticket(key string, strict bool) near.Ticket[Record, *Record] {
	if c.near == nil {
		return near.Ticket[Record, *Record]{}
	}
	return c.near.Begin(key, strict)
}

func entryOf(c near.Copy[Record]) Entry {
	return Entry{Record: c.Record, Expires: c.Expires}
}

func (l *Lookup) copyOf(e Entry) near.Copy[Record] {
	return near.Copy[Record]{Record: e.Record, Expires: e.Expires, Versions: e.Versions, Memos: l.options.Memos}
}

// changed drops all copies in this process that are older than a write of this
// process which the store has answered.
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
	c.waits.wakeEveryKey()
}

// Staler is a [Store] that retains records after they have expired.
type Staler interface {
	// RetainStale keeps records for at least this time after they have expired.
	RetainStale(time.Duration)
	// Stale finds a record that expired at most maxAge ago.
	Stale(key string, maxAge time.Duration) (Entry, bool)
	// DropStale drops the expired record of a key, because its content is known to be
	// wrong.
	DropStale(key string)
}

// stale returns an expired record for a lookup that would otherwise end in an
// error.
func (l *Lookup) stale(ctx context.Context, req Request) (Result, bool) {
	if l.options.StaleIfError == 0 || ctx.Err() != nil {
		return Result{}, false
	}
	var entry Entry
	ok, now := false, time.Now()
	if staler, is := l.cache.store.(Staler); is {
		entry, ok = staler.Stale(req.Key, l.options.StaleIfError)
	} else if l.cache.near != nil {
		var copied near.Copy[Record]
		copied, ok = l.cache.near.Stale(req.Key, l.options.StaleIfError, now)
		entry = entryOf(copied)
	}
	// an old refusal or absence is not worth using
	if !ok || entry.Record.State() != Found {
		return Result{}, false
	}
	record, ok := l.current(ctx, req, entry.Record, now)
	if !ok || record.State() != Found {
		return Result{}, false
	}
	r := Result{Outcome: OutcomeStale, Record: record, Hit: true, TTL: NoExpiry}
	if entry.Expires != 0 {
		r.TTL = time.Duration(entry.Expires - now.UnixNano())
	}
	return r, true
}

// correctStale corrects the records kept for stale use after an answer of the
// source that is not in the store: a client that was just refused must not be let
// in later by an older record. The ticket was drawn before the source was asked. An
// answer with tags is not kept: it has no versions, so a drop of its tags would not
// end it.
func (l *Lookup) correctStale(req Request, ticket near.Ticket[Record, *Record], loaded Loaded) {
	if staler, ok := l.cache.store.(Staler); ok {
		staler.DropStale(req.Key)
	}
	answered := loaded.Record
	if answered != nil && (answered.State() != Found || loaded.NoStore || len(l.tags(req, answered)) > 0) {
		answered = nil
	}
	ticket.Correct(answered, time.Now())
}
