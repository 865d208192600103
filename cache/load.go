// Loads: how a record is read from its source and stored, once for all lookups
// of it, in this process and in the fleet.

package cache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrOverloaded says that too many loads of a lookup are waiting.
var ErrOverloaded = errors.New("too many loads are waiting for the source")

// errTooLate says that a lookup has reached its time limit.
var errTooLate = fmt.Errorf("lookup took too long: %w", context.DeadlineExceeded)

// miss asks the source, with one load per key at a time. old is a stored record
// that this lookup does not use.
func (l *Lookup) miss(ctx context.Context, req Request, old *Record, lead *lead, b *budget) Result {
	source := l.options.Source
	if source == nil {
		return Result{Outcome: OutcomeAbsent}
	}
	load := func(ctx context.Context, fl *flight) Result { return l.load(ctx, req, old, lead, b, fl) }
	if lead != nil {
		return lead.launch(ctx, b, load)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, b.deadline, errTooLate)
	defer cancel()
	r, joined := l.cache.loads.do(ctx, req.Key, source, b.deadline, load)
	if joined && (r.overtaken || r.tooLate) && ctx.Err() == nil {
		// another node may have changed the key before this lookup began, or the load
		// may have begun long before it
		r, joined = l.cache.loads.do(ctx, req.Key, source, b.deadline, load)
	}
	if joined && r.private {
		// the answer sets a cookie for another client
		return l.askAlone(ctx, req, old)
	}
	if joined {
		l.asked.coalesced.Add(1)
	}
	return r
}

// load fills a key from the source, under the key's lease. Without the lease it
// asks the source and stores nothing: the store is unreachable, the load with
// the lease takes too long, or its answer may not be stored.
func (l *Lookup) load(ctx context.Context, req Request, old *Record, lead *lead, b *budget, fl *flight) Result {
	s, waited := &slot{queue: l.slots}, false
	if lead != nil {
		s, waited = &lead.slot, lead.held
	}
	defer s.give()
	c := claim{old: old}
	if lead != nil {
		c.token = lead.token
	}
	if c.token == "" {
		if err := s.take(ctx); err != nil {
			return notStarted(ctx, err)
		}
		finished := l.cache.pending.finished.Load()
		c = l.claim(ctx, req, old, b, s, waited)
		if r, ok := l.hit(ctx, req, c.now, l.cache.store.Name(), time.Now()); ok && finished == l.cache.pending.finished.Load() {
			return r
		}
		if c.ended != nil && c.ended.Failure != "" {
			return Result{Outcome: OutcomeError, Err: &SourceError{errors.New(c.ended.Failure)}}
		}
	}
	if err := s.take(ctx); err != nil {
		l.end(ctx, req.Key, c.token, nil)
		return notStarted(ctx, err)
	}
	return l.loadUnder(ctx, req, c.token, c.old, b, fl)
}

// notStarted is the result of a load that ended before it asked its source.
func notStarted(ctx context.Context, err error) Result {
	if errors.Is(err, errQueueFull) {
		return Result{Outcome: OutcomeError, Err: ErrOverloaded}
	}
	return Result{Outcome: OutcomeError, Err: fmt.Errorf("waiting for other loads: %w", err), tooLate: tooLate(ctx)}
}

// tooLate reports whether a load was ended by its deadline.
func tooLate(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

// loadUnder asks the source and fills the key under the lease of the token. A
// token "" means that there is no lease.
func (l *Lookup) loadUnder(ctx context.Context, req Request, token string, old *Record, b *budget, fl *flight) (r Result) {
	ended := &Ended{Failure: "the load panicked"} // for waiting loads, if the source panics
	defer func() { l.end(ctx, req.Key, token, ended) }()
	ticket := l.cache.ticket(req.Key, l.options.Strict)
	loaded, err := l.ask(ctx, req, old)
	switch {
	case err != nil:
		r, ended = Result{Outcome: OutcomeError, Err: err, tooLate: tooLate(ctx), Response: loaded.Response, private: loaded.Private}, failureOf(ctx, err)
	default:
		l.correctStale(req, ticket, loaded)
		r, ended = l.resultOf(loaded), new(Ended)
	}
	defer fl.answerAfter(b.left, r)()
	used := false
	if err == nil && token != "" {
		used = l.fill(ctx, req, token, old, loaded, &r) || l.withdraw(ctx, req, token, old)
	}
	if used {
		token = ""
	}
	return r
}

// askAlone asks the source for one request, because the answer is only for its
// client.
func (l *Lookup) askAlone(ctx context.Context, req Request, old *Record) (r Result) {
	defer func() {
		if p := recover(); p != nil {
			r = panicked(p)
		}
	}()
	slot := &slot{queue: l.slots}
	defer slot.give()
	if err := slot.take(ctx); err != nil {
		return notStarted(ctx, err)
	}
	loaded, err := l.ask(ctx, req, old)
	if err != nil {
		return Result{Outcome: OutcomeError, Err: err, Response: loaded.Response}
	}
	return l.resultOf(loaded)
}

// resultOf returns the result for an answer of the source.
func (l *Lookup) resultOf(loaded Loaded) Result {
	if loaded.Record == nil {
		return Result{Outcome: OutcomeAbsent, Response: loaded.Response, private: loaded.Private}
	}
	r := Result{
		Record: loaded.Record, Outcome: OutcomeMiss,
		Response: loaded.Response, private: loaded.Private, NoStore: loaded.NoStoreReason,
	}
	switch {
	case l.unreadable(loaded.Record):
		return Result{Outcome: OutcomeError, Err: &SourceError{errExpiry}}
	case loaded.Record.State() == Absent, l.expired(loaded.Record, time.Now()):
		r.Outcome = OutcomeAbsent
	case loaded.Record.State() == Denied:
		r.Outcome = OutcomeDenied
	}
	return r
}

// failureOf returns what waiting loads learn of a failure. It is nil where the
// load was ended by this process: one of the waiting loads then asks the
// source.
func failureOf(ctx context.Context, err error) *Ended {
	if ctx.Err() != nil {
		return nil
	}
	var failed *SourceError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return &Ended{Failure: err.Error()}
}

// ask asks the source, within LoadTimeout.
func (l *Lookup) ask(ctx context.Context, req Request, old *Record) (Loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, l.options.LoadTimeout)
	defer cancel()
	if old != nil && !l.usable(req, old) {
		old = nil // the source must not take over what answers another question
	}
	started := time.Now()
	loaded, err := l.options.Source.Load(ctx, req, old)
	l.cache.stats.SourceLatency.Observe(ctx, time.Since(started))
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
	switch {
	case err == nil:
		l.asked.answered(loaded.Record)
		l.counters.source.worked(l.options.Logger, l.options.Name, l.options.Source.Name())
	case errors.Is(ctx.Err(), context.Canceled):
		l.asked.outcomes[SourceLeft].Add(1)
	default:
		l.asked.failed(err)
		l.counters.source.failed(l.options.Logger, l.options.Name, l.options.Source.Name(), err)
	}
	if err != nil {
		return Loaded{Response: loaded.Response, Private: loaded.Private}, &SourceError{err}
	}
	return loaded, nil
}
