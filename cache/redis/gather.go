// Calls for single keys that arrive while others are under way share a round
// trip. Under load, the system calls and goroutine switches of a round trip
// cost more than the commands in it.

package redis

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// readTrips is how many round trips of reads are under way at most, and no more
	// than half of the connections. With more, fewer reads share one; with fewer,
	// reads wait longer for the next, and a connection that hangs until its deadline
	// holds up more of them.
	readTrips = 4
	// leaseTrips is the same for the scripts that end loads and that wait for them,
	// and no more than a quarter of the connections.
	leaseTrips = 4
)

// call is one call for a key. It keeps its own result.
type call interface {
	// size is the number of bytes of records that it sends.
	size() int
}

// gatherers has a gatherer for each shard, so that a server that hangs does not delay
// calls of the others.
type gatherers[C call] struct {
	// shard names the shard of a key.
	shard func(ctx context.Context, key string) string
	send  func(ctx context.Context, calls []C) error
	trips int // the most round trips under way, per shard

	mu      sync.Mutex
	byShard map[string]*gatherer[C]
	closed  bool
}

func newGatherers[C call](s *Store, trips int, send func(context.Context, []C) error) *gatherers[C] {
	return &gatherers[C]{shard: s.shardOf, send: send, trips: max(1, trips), byShard: make(map[string]*gatherer[C])}
}

// shardOf names the server that has the keys of a slot in a cluster.
func (s *Store) shardOf(ctx context.Context, key string) string {
	cluster, ok := s.primary.(*goredis.ClusterClient)
	if !ok {
		return ""
	}
	master, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return "" // the call itself will return the error
	}
	return master.Options().Addr
}

// do carries out a call for a key. After an error, the call must not be read.
func (g *gatherers[C]) do(ctx context.Context, key string, c C) error {
	shard := g.shard(ctx, key)
	g.mu.Lock()
	one, ok := g.byShard[shard]
	if !ok {
		one = &gatherer[C]{send: g.send, trips: g.trips, closed: g.closed}
		g.byShard[shard] = one
	}
	g.mu.Unlock()
	return one.do(ctx, c)
}

// close refuses calls from now on and waits for the batches under way.
func (g *gatherers[C]) close() {
	g.mu.Lock()
	g.closed = true
	all := slices.Collect(maps.Values(g.byShard))
	g.mu.Unlock()
	for _, one := range all {
		one.close()
	}
}

// gatherer sends a call at once, with those that arrive at the same moment. When the
// most round trips are under way, further calls wait and are sent together when one of
// them ends.
type gatherer[C call] struct {
	send     func(ctx context.Context, calls []C) error
	trips    int
	mu       sync.Mutex
	underWay int
	open     *batch[C]      // about to be sent by the goroutine of its first call
	waiting  []*batch[C]    // the oldest first; all but the last are full
	closed   bool           // no further round trip may begin
	running  sync.WaitGroup // incremented only under mu and while not closed
}

// batch is a number of calls that are sent together.
type batch[C call] struct {
	calls    []C
	size     int
	deadline time.Time // the latest of all
	done     chan struct{}
	err      error
}

// unbounded is the timeout of a call whose context has no deadline.
const unbounded = time.Minute

func deadlineOf(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(unbounded)
}

// do carries out a call.
func (g *gatherer[C]) do(ctx context.Context, c C) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return errGathererClosed
	}
	if g.underWay < g.trips && g.open == nil {
		g.underWay++
		return g.sendNow(ctx, c)
	}
	b := g.join(ctx, c)
	g.mu.Unlock()
	return b.wait(ctx)
}

// wait waits for the result of a batch that another goroutine sends.
func (b *batch[C]) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return tooLate(ctx.Err())
	}
}

// deadlineTolerance is the largest difference between the deadlines of calls that have
// the same timeout.
const deadlineTolerance = 10 * time.Millisecond

// sendNow sends a call, with those that other goroutines have ready now. On an idle
// machine there are none, and the yield takes no time. The caller holds g.mu, which
// sendNow unlocks.
func (g *gatherer[C]) sendNow(ctx context.Context, c C) error {
	b := newBatch(ctx, c)
	own := b.deadline
	g.open = b
	g.mu.Unlock()
	runtime.Gosched()
	g.mu.Lock()
	g.open = nil
	if b.deadline.Sub(own) > deadlineTolerance && !g.closed { // this caller must not wait as long
		g.running.Go(func() { g.sendAll(b) })
		g.mu.Unlock()
		return b.wait(ctx)
	}
	g.mu.Unlock()
	defer g.tripEnded()
	defer close(b.done)
	if len(b.calls) > 1 { // the others must not end with this caller
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), b.deadline)
		defer cancel()
	}
	b.err = g.send(ctx, b.calls)
	return b.err
}

func newBatch[C call](ctx context.Context, c C) *batch[C] {
	return &batch[C]{calls: []C{c}, size: c.size(), deadline: deadlineOf(ctx), done: make(chan struct{})}
}

// join adds a call to a batch that is still to be sent.
func (g *gatherer[C]) join(ctx context.Context, c C) *batch[C] {
	b := g.open
	if n := len(g.waiting); !b.takes(c) && n > 0 {
		b = g.waiting[n-1]
	}
	if !b.takes(c) {
		b = newBatch(ctx, c)
		g.waiting = append(g.waiting, b)
		return b
	}
	b.calls = append(b.calls, c)
	b.size += c.size()
	if deadline := deadlineOf(ctx); deadline.After(b.deadline) {
		b.deadline = deadline
	}
	return b
}

// takes reports whether a call fits into the batch.
func (b *batch[C]) takes(c C) bool {
	return b != nil && len(b.calls) < pipelineKeys && b.size+c.size() <= pipelineBytes
}

// tripEnded sends the waiting batches after a round trip has ended.
func (g *gatherer[C]) tripEnded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.next(); b != nil {
		g.running.Go(func() { g.sendAll(b) })
	}
}

// next returns the next waiting batch. Without one, a round trip ends. The caller
// holds g.mu.
func (g *gatherer[C]) next() *batch[C] {
	if len(g.waiting) == 0 {
		g.underWay--
		return nil
	}
	b := g.waiting[0]
	g.waiting = g.waiting[1:]
	return b
}

// sendAll sends a batch and then the waiting ones, because the stack of a new
// goroutine for each would have to grow anew.
func (g *gatherer[C]) sendAll(b *batch[C]) {
	for b != nil {
		g.sendBatch(b)
		g.mu.Lock()
		b = g.next()
		g.mu.Unlock()
	}
}

// sendBatch sends a batch for all callers that wait for it.
func (g *gatherer[C]) sendBatch(b *batch[C]) {
	defer close(b.done)
	ctx, cancel := context.WithDeadline(context.Background(), b.deadline)
	defer cancel()
	if err := ctx.Err(); err != nil {
		b.err = tooLate(err) // all callers have left
		return
	}
	b.err = g.send(ctx, b.calls)
}

// close refuses further calls and waits for the batches under way.
func (g *gatherer[C]) close() {
	g.mu.Lock()
	g.closed = true
	for _, b := range g.waiting {
		b.err = errGathererClosed
		close(b.done)
	}
	g.waiting = nil
	g.mu.Unlock()
	g.running.Wait()
}

var errGathererClosed = fmt.Errorf("waiting for a round trip to redis: %w", cache.ErrClosed)

// lateError is the error of a caller whose context ended before its call did. The call
// may still be carried out.
type lateError struct{ cause error }

func (e *lateError) Error() string {
	return fmt.Sprintf("waiting for a round trip to redis: %v: %v", cache.ErrUnavailable, e.cause)
}

func (e *lateError) Unwrap() []error { return []error{cache.ErrUnavailable, e.cause} }

// tooLate returns the error of a call whose context has ended.
func tooLate(cause error) error { return &lateError{cause} }
