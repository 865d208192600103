package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// flights lets one load per key and source run at a time in this process. Unlike
// singleflight it knows all loads of a key, whatever their source, so that an
// invalidation can keep later callers from joining them. A load ends with its last
// waiter and not before.
type flights struct {
	mu     sync.Mutex
	loads  map[string][]*flight // by key
	group  sync.WaitGroup
	closed bool
	// idle are goroutines that have ended a load and wait for the next: a new one
	// would grow its stack anew.
	idle []chan func()
}

// maxIdle is how many goroutines may be idle.
const maxIdle = 32

// flight is one load and the callers that wait for it.
type flight struct {
	source  Source
	cancel  context.CancelFunc // of the load; nil until it runs; under the lock of the flights
	waiters int                // under the lock of the flights
	// early is a provisional result of a load that still runs; see answerAfter.
	early    Result
	answered chan struct{}
	// result is the final result; it is set when done is closed.
	result Result
	done   chan struct{}
}

// loading is the work of a flight. Its context ends with its last waiter.
type loading func(ctx context.Context, fl *flight) Result

// errNoResult is the error of a load that ended its goroutine without returning.
var errNoResult = errors.New("loading ended without a result")

// do joins the flight of the key and source, or starts load in its own goroutine.
// The context of load has the values of ctx but does not end with it; it ends at the
// deadline, unless that is zero. joined reports whether a flight was joined. do
// returns before the load only when ctx ends. A flight of [flights.lead] may end
// without a load. If do has joined one, it tries again, and then joins only flights
// whose load has started.
func (f *flights) do(ctx context.Context, key string, source Source, deadline time.Time, load loading) (result Result, joined bool) {
	for again := false; ; again = true {
		fl, joined := f.board(ctx, key, source, deadline, load, again)
		if fl == nil {
			return Result{Outcome: OutcomeError, Err: ErrClosed}, false
		}
		answered := fl.answered
		if joined {
			// only a finished load reports whether the key was changed meanwhile
			answered = nil
		}
		result := f.wait(ctx, ctx, key, fl, answered)
		switch {
		case !result.notLoaded:
			return result, joined
		case ctx.Err() != nil:
			return Result{Outcome: OutcomeError, Err: context.Cause(ctx)}, joined
		}
	}
}

// wait waits for the result of a flight, until ctx or late ends.
func (f *flights) wait(ctx, late context.Context, key string, fl *flight, answered chan struct{}) Result {
	defer f.leave(key, fl)
	select {
	case <-fl.done:
		return fl.result
	case <-answered:
		return fl.early
	case <-ctx.Done():
	case <-late.Done():
		ctx = late
	}
	select {
	case <-fl.done:
		return fl.result
	default:
	}
	select {
	case <-fl.answered:
		return fl.early
	default:
		return Result{Outcome: OutcomeError, Err: context.Cause(ctx)}
	}
}

// lead adds a flight that others may join, although its load has not started. The
// caller must launch or drop it. lead returns nil if a flight of the key and source
// is under way, or if the flights are closed.
func (f *flights) lead(key string, source Source) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.find(key, source, false) != nil {
		return nil
	}
	return f.add(key, source)
}

// launch starts the load of a flight that the caller leads, and waits for it as do
// does, until the deadline.
func (f *flights) launch(ctx context.Context, key string, fl *flight, deadline time.Time, load loading) Result {
	detached, cancel := context.WithDeadlineCause(context.WithoutCancel(ctx), deadline, errTooLate)
	f.mu.Lock()
	f.run(detached, cancel, key, fl, load)
	f.mu.Unlock()
	return f.wait(ctx, detached, key, fl, fl.answered)
}

// drop ends a flight that the caller leads, without a load.
func (f *flights) drop(key string, fl *flight) {
	fl.result = Result{Outcome: OutcomeError, Err: errNoResult, notLoaded: true}
	f.land(key, fl)
	close(fl.done)
	f.group.Done()
}

// start begins a load in the background, unless a flight is under way. Nothing
// waits for it and nothing ends it early.
func (f *flights) start(ctx context.Context, key string, source Source, load loading) {
	// its only waiter never leaves
	f.board(ctx, key, source, time.Time{}, load, false)
}

// board joins a flight or starts one. With onlyLoads, it joins only a flight whose
// load has started.
func (f *flights) board(ctx context.Context, key string, source Source, deadline time.Time, load loading, onlyLoads bool) (fl *flight, joined bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false
	}
	if fl := f.find(key, source, onlyLoads); fl != nil {
		fl.waiters++
		return fl, true
	}
	fl = f.add(key, source)
	detached := context.WithoutCancel(ctx)
	var cancel context.CancelFunc
	if deadline.IsZero() {
		detached, cancel = context.WithCancel(detached)
	} else {
		detached, cancel = context.WithDeadlineCause(detached, deadline, errTooLate)
	}
	f.run(detached, cancel, key, fl, load)
	return fl, false
}

// find returns the flight of a key and source; with onlyLoads, only if its load has
// started. The caller of find, add and run holds f.mu.
func (f *flights) find(key string, source Source, onlyLoads bool) *flight {
	for _, fl := range f.loads[key] {
		if fl.source == source && (fl.cancel != nil || !onlyLoads) {
			return fl
		}
	}
	return nil
}

// add adds a flight with one waiter.
func (f *flights) add(key string, source Source) *flight {
	fl := &flight{
		source: source, waiters: 1, answered: make(chan struct{}), done: make(chan struct{}),
		result: Result{Outcome: OutcomeError, Err: errNoResult},
	}
	if f.loads == nil {
		f.loads = make(map[string][]*flight)
	}
	f.loads[key] = append(f.loads[key], fl)
	f.group.Add(1)
	return fl
}

// run runs the load of a flight in a goroutine.
func (f *flights) run(ctx context.Context, cancel context.CancelFunc, key string, fl *flight, load loading) {
	fl.cancel = cancel
	f.spawn(func() {
		defer f.group.Done()
		defer cancel() // after done is closed: a caller may wait for both
		defer close(fl.done)
		defer f.land(key, fl)
		defer func() {
			if p := recover(); p != nil {
				fl.result = panicked(p)
			}
		}()
		fl.result = load(ctx, fl)
	})
}

// panicked is the result of a load that panicked.
func panicked(p any) Result {
	return Result{Outcome: OutcomeError, Err: fmt.Errorf("loading panicked: %v\n%s", p, debug.Stack())}
}

// spawn runs work in an idle goroutine or a new one. The caller holds f.mu.
func (f *flights) spawn(work func()) {
	if last := len(f.idle) - 1; last >= 0 {
		next := f.idle[last]
		f.idle = f.idle[:last]
		next <- work
		return
	}
	f.group.Add(1)
	go f.serve(work)
}

// serve runs work, and more of it until the flights are closed or enough goroutines
// are idle.
func (f *flights) serve(work func()) {
	defer f.group.Done()
	next := make(chan func(), 1)
	for work != nil {
		work()
		f.mu.Lock()
		if f.closed || len(f.idle) >= maxIdle {
			f.mu.Unlock()
			return
		}
		f.idle = append(f.idle, next)
		f.mu.Unlock()
		work = <-next
	}
}

// answerAfter gives the callers that began the load a provisional result once they
// have waited this long for the rest of it. The returned function must be called
// when the load is over.
func (fl *flight) answerAfter(wait time.Duration, result Result) (stop func() bool) {
	fl.early = result // which is read once answered is closed
	if wait <= 0 {
		close(fl.answered)
		return func() bool { return false }
	}
	return time.AfterFunc(wait, func() { close(fl.answered) }).Stop
}

// leave removes a waiter from a flight. The last waiter to leave ends the flight.
func (f *flights) leave(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiters--; fl.waiters == 0 {
		f.remove(key, fl) // no caller may join a load that is being ended
		fl.cancel()       // the leader of a flight without a load never leaves
	}
}

// land removes a flight from the list, unless it was removed before.
func (f *flights) land(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(key, fl)
}

// remove is land with f.mu held.
func (f *flights) remove(key string, fl *flight) {
	rest := f.loads[key]
	for i := range rest {
		if rest[i] == fl {
			rest = append(rest[:i:i], rest[i+1:]...)
			break
		}
	}
	if len(rest) == 0 {
		delete(f.loads, key)
	} else {
		f.loads[key] = rest
	}
}

// forget makes later callers start a new load: the loads under way may return a
// value that is too old for them.
func (f *flights) forget(keys ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range keys {
		delete(f.loads, key)
	}
}

// forgetAll is forget for every key.
func (f *flights) forgetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.loads)
}

// close refuses new flights and waits for those under way.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	for _, idle := range f.idle {
		close(idle)
	}
	f.idle = nil
	f.mu.Unlock()
	f.group.Wait()
}
