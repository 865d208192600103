package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// flights lets one load per key and source run at a time in this process.
// Unlike singleflight it knows all loads of a key, whatever their source, so
// that an invalidation can keep later callers from joining them; and a
// caller that leaves does not end the load.
type flights struct {
	mu     sync.Mutex
	loads  map[string][]*flight // by key
	group  sync.WaitGroup
	closed bool
}

type flight struct {
	source Source
	done   chan struct{}
	result Result
}

// errNoResult is the result of a load that ended its goroutine.
var errNoResult = errors.New("loading ended without a result")

// do joins the flight of the key and source, or starts load in a goroutine of
// its own. joined tells which. It returns early only when ctx ends.
func (f *flights) do(ctx context.Context, key string, source Source, load func() Result) (result Result, joined bool) {
	fl, joined := f.board(key, source, load)
	if fl == nil {
		return Result{Outcome: OutcomeError, Err: ErrClosed}, false
	}
	select {
	case <-fl.done:
		return fl.result, joined
	case <-ctx.Done():
		return Result{Outcome: OutcomeError, Err: ctx.Err()}, joined
	}
}

// start is do for nobody who waits; it does nothing where a flight is under way.
func (f *flights) start(key string, source Source, load func() Result) {
	f.board(key, source, load)
}

func (f *flights) board(key string, source Source, load func() Result) (fl *flight, joined bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false
	}
	for _, fl := range f.loads[key] {
		if fl.source == source {
			return fl, true
		}
	}
	fl = &flight{source: source, done: make(chan struct{}), result: Result{Outcome: OutcomeError, Err: errNoResult}}
	if f.loads == nil {
		f.loads = make(map[string][]*flight)
	}
	f.loads[key] = append(f.loads[key], fl)
	f.group.Go(func() {
		defer close(fl.done)
		defer f.land(key, fl)
		defer func() {
			if p := recover(); p != nil {
				fl.result = Result{Outcome: OutcomeError, Err: fmt.Errorf("loading panicked: %v\n%s", p, debug.Stack())}
			}
		}()
		fl.result = load()
	})
	return fl, false
}

// land takes a flight off the board, if forget has not.
func (f *flights) land(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
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

// forget lets callers from now on start anew, because what is in flight may
// be older than what they are owed.
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
	f.mu.Unlock()
	f.group.Wait()
}
