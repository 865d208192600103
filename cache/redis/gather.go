// Calls for single keys that arrive while others are under way share a round
// trip. Under load, the system calls and goroutine switches of a round trip
// cost more than the commands in it.

package redis

import (
	"context"
	"fmt"
	"maps"
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

// call is one call for a key. What it came to is in the call.
type call interface {
	// size is how many bytes it sends, apart from a constant.
	size() int
}

// gatherers are those of all shards: a server that hangs does not hold up calls
// of others.
type gatherers[C call] struct {
	// shard is where the record of a key is.
	shard func(ctx context.Context, key string) string
	send  func(ctx context.Context, calls []C) error
	trips int // of each

	mu      sync.Mutex
	byShard map[string]*gatherer[C]
	closed  bool
}

// newGatherers makes what calls for single keys go through.
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
		return "" // the call will find out as well
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

// gatherer sends calls at once, each on its own, until as many as may be are
// under way. Those that come then go together when the next one ends.
type gatherer[C call] struct {
	send    func(ctx context.Context, calls []C) error
	trips   int
	mu      sync.Mutex
	flying  int
	waiting []*batch[C]    // the oldest first; all but the last are full
	closed  bool           // no round trip begins any more
	running sync.WaitGroup // grows under mu and while not closed only
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
	if g.flying < g.trips {
		g.flying++
		g.mu.Unlock()
		defer g.landed()
		return g.send(ctx, []C{c})
	}
	b := g.join(ctx, c)
	g.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return tooLate(ctx.Err())
	}
}

// join adds a call to the waiting batch.
func (g *gatherer[C]) join(ctx context.Context, c C) *batch[C] {
	size := c.size()
	if n := len(g.waiting); n == 0 || len(g.waiting[n-1].calls) == pipelineKeys || g.waiting[n-1].size+size > pipelineBytes {
		g.waiting = append(g.waiting, &batch[C]{done: make(chan struct{})})
	}
	b := g.waiting[len(g.waiting)-1]
	b.calls = append(b.calls, c)
	b.size += size
	if deadline := deadlineOf(ctx); deadline.After(b.deadline) {
		b.deadline = deadline
	}
	return b
}

// landed sends the waiting batch after a round trip has ended.
func (g *gatherer[C]) landed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.flying--
		return
	}
	next := g.waiting[0]
	g.waiting = g.waiting[1:]
	g.start(next)
}

// start sends a batch for all callers that wait for it.
func (g *gatherer[C]) start(b *batch[C]) {
	g.running.Go(func() {
		defer g.landed()
		defer close(b.done)
		ctx, cancel := context.WithDeadline(context.Background(), b.deadline)
		defer cancel()
		if err := ctx.Err(); err != nil {
			b.err = tooLate(err) // all callers have left
			return
		}
		b.err = g.send(ctx, b.calls)
	})
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

// lateError is the error of a call whose caller has left. It may still be sent.
type lateError struct{ cause error }

func (e *lateError) Error() string {
	return fmt.Sprintf("waiting for a round trip to redis: %v: %v", cache.ErrUnavailable, e.cause)
}

func (e *lateError) Unwrap() []error { return []error{cache.ErrUnavailable, e.cause} }

// tooLate returns the error of a call whose context has ended.
func tooLate(cause error) error { return &lateError{cause} }
