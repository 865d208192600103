// Loads: how a record comes from its source into the store, once for all who
// look it up, in this process and in the fleet.

package cache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// miss asks the source, one load per key at a time. old is what the store has
// and this lookup does not use.
func (l *Lookup) miss(ctx context.Context, req Request, old *Record, b *budget) Result {
	source := l.options.Source
	if source == nil {
		return Result{Outcome: OutcomeAbsent}
	}
	detached := context.WithoutCancel(ctx)
	load := func() Result { return l.load(detached, req, old, b) }
	r, joined := l.cache.loads.do(ctx, req.Key, source, load)
	if joined && r.overtaken {
		// the change may have come before this lookup, from another node
		r, joined = l.cache.loads.do(ctx, req.Key, source, load)
	}
	if joined {
		l.asked.coalesced.Add(1)
	}
	return r
}

// load fills a key from the source, under the key's lease. Without the lease
// (the store is out of reach, or somebody else loads for too long) it asks for
// itself and fills nothing.
func (l *Lookup) load(ctx context.Context, req Request, old *Record, b *budget) Result {
	token, filled, old := l.lease(ctx, req.Key, old, b)
	if r, ok := l.hit(ctx, req, filled, l.cache.store.Name(), time.Now()); ok {
		return r
	}
	return l.loadUnder(ctx, req, token, old, b)
}

// loadUnder asks the source, and fills the key under the lease of the token,
// which is "" without one.
func (l *Lookup) loadUnder(ctx context.Context, req Request, token string, old *Record, b *budget) (r Result) {
	defer func() {
		if !r.Stored { // also where the source panics
			l.release(ctx, req.Key, token, b)
		}
	}()
	ticket := l.cache.ticket(req.Key, l.options.Strict)
	loaded, err := l.ask(ctx, req, old)
	if err != nil {
		return Result{Outcome: OutcomeError, Err: err}
	}
	defer func() {
		if !r.Stored {
			l.withdraw(ctx, req, token, old, b)
			l.correctStale(req.Key, ticket, loaded, r.overtaken)
		}
	}()
	if loaded.Response != nil {
		return Result{Outcome: OutcomeAbsent, Response: loaded.Response}
	}
	r = Result{Record: loaded.Record, Outcome: OutcomeMiss}
	switch {
	case loaded.Record.state == Absent, l.expired(loaded.Record, time.Now()):
		r.Outcome = OutcomeAbsent
	case loaded.Record.state == Denied:
		r.Outcome = OutcomeDenied
	}
	if token != "" && !loaded.NoStore {
		l.fill(ctx, req, token, old, loaded, b, &r)
	}
	return r
}

const (
	// how often those who wait for a lease look again
	leasePollMin = 5 * time.Millisecond
	leasePollMax = 100 * time.Millisecond
)

// lease waits until it has the key's lease, or somebody else has filled the
// key, or it has waited for as long as a load may take. It also answers what
// the store had when the lease was taken, which a fill may replace: old, or a
// record that has come since and that this lookup does not use.
func (l *Lookup) lease(ctx context.Context, key string, old *Record, b *budget) (token string, now Entry, had *Record) {
	ctx, cancel := context.WithTimeout(ctx, l.options.LoadTimeout)
	defer cancel()
	for poll := leasePollMin; ; poll = min(leasePollMax, poll*3/2) {
		err := b.spend(ctx, func(ctx context.Context) (err error) {
			token, now, err = l.cache.store.Acquire(ctx, key, old, l.options.LoadTimeout, l.options.Tags != nil)
			return err
		})
		if now.Old != nil {
			old = now.Old
		}
		switch {
		case err != nil:
			return "", Entry{}, old
		case now.Record != nil && !l.usable(now.Record) && ctx.Err() == nil:
			old = now.Record
			continue
		case token != "" || now.Record != nil:
			return token, now, old
		}
		select {
		case <-ctx.Done():
			return "", Entry{}, old
		case <-time.After(poll):
		}
	}
}

func (l *Lookup) ask(ctx context.Context, req Request, old *Record) (Loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, l.options.LoadTimeout)
	defer cancel()
	if old != nil && !l.usable(old) {
		old = nil // the source must not take over what answers another question
	}
	started := time.Now()
	loaded, err := l.options.Source.Load(ctx, req, old)
	l.cache.stats.SourceLatency.Observe(time.Since(started))
	l.asked.requests.Add(1)
	if loaded.Record != nil {
		loaded.Record = loaded.Record.fromSource(l.options.SourceID)
	}
	switch {
	case err != nil:
	case loaded.Record == nil && loaded.Response == nil:
		err = errors.New("it answered neither a record nor a response")
	case loaded.Record != nil && loaded.Record.Size() > l.options.MaxValueSize:
		err = fmt.Errorf("%w: it is larger than %d bytes", ErrInvalidRecord, l.options.MaxValueSize)
	}
	if err != nil {
		l.asked.errors.Add(1)
		return Loaded{}, &SourceError{err}
	}
	return loaded, nil
}

// release lets others load at once instead of when the lease expires.
func (l *Lookup) release(ctx context.Context, key, token string, b *budget) {
	if token == "" {
		return
	}
	// a failure costs the others a wait, and nobody can do anything about it
	_ = b.spend(ctx, func(ctx context.Context) error {
		return l.cache.store.Release(ctx, key, token)
	})
}
