// Filling: how the answer of a source is written to the store.

package cache

import (
	"context"
	"math/rand/v2"
	"time"
)

// fill stores a loaded record, if it may be stored, and notes the result in r. It
// returns true where the lease is used up or is being given back.
func (l *Lookup) fill(ctx context.Context, req Request, token string, old *Record, loaded Loaded, r *Result) (used bool) {
	record, ttl := l.toStore(loaded)
	if record == nil {
		return false
	}
	err := l.finish(ctx, func(ctx context.Context) (err error) {
		r.Stored, err = l.cache.store.Fill(ctx, req.Key, token, old, record, l.tags(req, loaded.Record), ttl)
		return err
	})
	switch {
	case err != nil:
		r.Stored = false
		l.cache.giveBacks.add(req.Key, token, l.leaseTTL())
	case r.Stored:
		r.TTL = ttl
		l.cache.changed(req.Key)
	default:
		r.overtaken = true
		// the store has something newer than the source's answer
		l.cache.changed(req.Key)
	}
	return true
}

// toStore returns the record to store for an answer of the source, and its TTL. The
// record is nil if the answer may not be stored.
func (l *Lookup) toStore(loaded Loaded) (record *Record, ttl time.Duration) {
	if loaded.Record == nil || loaded.NoStore {
		return nil, 0
	}
	ttl = l.options.TTL
	if loaded.Record.State() != Found {
		ttl = l.options.NegativeTTL
	}
	ttl = jitter(ttl)
	if loaded.MaxTTL > 0 {
		ttl = min(ttl, loaded.MaxTTL)
	}
	ttl = l.capTTL(ttl, loaded.Record, time.Now())
	if ttl < MinTTL {
		return nil, 0
	}
	return l.capped(loaded.Record, ttl), ttl
}

// capped returns the record with its TTL in the field "_ttl", if that is less than
// the lookup's TTL.
func (l *Lookup) capped(record *Record, ttl time.Duration) *Record {
	if record.State() != Found || ttl >= l.options.TTL-l.options.TTL/refreshPart {
		return record
	}
	noted := record.withTTL(ttl)
	if noted.Size() > l.options.MaxValueSize {
		return record
	}
	return noted
}

// tags returns the tags of a record from the source.
func (l *Lookup) tags(req Request, record *Record) []string {
	if l.options.Tags == nil {
		return nil
	}
	return l.options.Tags(req, record)
}

// superseded replaces a record that its source has just contradicted with an
// answer that is not stored. No lookup uses it.
var superseded = func() *Record {
	r := newRecord(`{"_source":""}`)
	r.origin = originUnknown
	return r
}()

// withdraw drops a stored record that lookups would still use although the source
// has just given another answer that is not stored. For example, a session that
// has ended must not be used until its TTL is over. It returns true where the
// lease is used up or is being given back.
func (l *Lookup) withdraw(ctx context.Context, req Request, token string, old *Record) (used bool) {
	if old == nil {
		return false
	}
	if _, holds := l.current(ctx, req, old, time.Now()); !holds {
		return false
	}
	err := l.finish(ctx, func(ctx context.Context) error {
		_, err := l.cache.store.Fill(ctx, req.Key, token, old, superseded, nil, MinTTL)
		return err
	})
	if err != nil { // the next use of the record asks the source again
		l.cache.giveBacks.add(req.Key, token, l.leaseTTL())
	}
	l.cache.changed(req.Key)
	return true
}

// jitter changes a TTL by up to 5 % either way, so that records that were filled
// together do not expire together.
func jitter(ttl time.Duration) time.Duration {
	return time.Duration(float64(ttl) * (0.95 + 0.1*rand.Float64()))
}
