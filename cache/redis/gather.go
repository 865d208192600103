// Reads of single keys that arrive while others are under way share a round
// trip. Under load, the system calls and goroutine switches of a round trip
// cost more than the reads in it.

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

// roundTrips is how many round trips are under way at most, and no more than
// half of the connections. With more, fewer reads share one; with fewer, reads
// wait longer for the next, and a connection that hangs until its deadline holds
// up more of them.
const roundTrips = 4

// gatherers are those of all shards: a server that hangs does not hold up reads
// of others.
type gatherers struct {
	// shard is where the record of a key is.
	shard func(ctx context.Context, key string) string
	read  func(ctx context.Context, keys []string, got []cache.Got) error
	trips int // of each

	mu      sync.Mutex
	byShard map[string]*gatherer
	closed  bool
}

// newGatherers makes what reads of single keys go through.
func (s *Store) newGatherers() *gatherers {
	g := &gatherers{read: s.read, trips: max(1, min(roundTrips, s.options.PoolSize/2)), byShard: make(map[string]*gatherer)}
	cluster, ok := s.primary.(*goredis.ClusterClient)
	g.shard = func(ctx context.Context, key string) string {
		if !ok {
			return ""
		}
		master, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return "" // the read will find out as well
		}
		return master.Options().Addr
	}
	return g
}

// get reads a key.
func (g *gatherers) get(ctx context.Context, key string) (cache.Entry, error) {
	shard := g.shard(ctx, key)
	g.mu.Lock()
	one, ok := g.byShard[shard]
	if !ok {
		one = &gatherer{read: g.read, trips: g.trips, closed: g.closed}
		g.byShard[shard] = one
	}
	g.mu.Unlock()
	return one.get(ctx, key)
}

// close refuses reads from now on and waits for the batches under way.
func (g *gatherers) close() {
	g.mu.Lock()
	g.closed = true
	all := slices.Collect(maps.Values(g.byShard))
	g.mu.Unlock()
	for _, one := range all {
		one.close()
	}
}

// gatherer sends reads at once, each on its own, until as many as may be are
// under way. Those that come then go together when the next one ends.
type gatherer struct {
	read    func(ctx context.Context, keys []string, got []cache.Got) error
	trips   int
	mu      sync.Mutex
	flying  int
	waiting []*gathered    // the oldest first; all but the last are full
	closed  bool           // no round trip begins any more
	running sync.WaitGroup // grows under mu and while not closed only
}

// gathered is a batch of reads that are sent together.
type gathered struct {
	keys     []string
	deadline time.Time // the latest of all
	done     chan struct{}
	got      []cache.Got
	err      error
}

// unbounded is the timeout of a read whose context has no deadline.
const unbounded = time.Minute

func deadlineOf(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(unbounded)
}

// get reads a key.
func (g *gatherer) get(ctx context.Context, key string) (cache.Entry, error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return cache.Entry{}, errGathererClosed
	}
	if g.flying < g.trips {
		g.flying++
		g.mu.Unlock()
		defer g.landed()
		var got [1]cache.Got
		if err := g.read(ctx, []string{key}, got[:]); err != nil {
			return cache.Entry{}, err
		}
		return got[0].Entry, got[0].Err
	}
	batch, index := g.join(ctx, key)
	g.mu.Unlock()
	select {
	case <-batch.done:
	case <-ctx.Done():
		return cache.Entry{}, tooLate(ctx.Err())
	}
	if batch.err != nil {
		return cache.Entry{}, batch.err
	}
	return batch.got[index].Entry, batch.got[index].Err
}

// join adds a key to the waiting batch.
func (g *gatherer) join(ctx context.Context, key string) (batch *gathered, index int) {
	if n := len(g.waiting); n == 0 || len(g.waiting[n-1].keys) == pipelineKeys {
		g.waiting = append(g.waiting, &gathered{done: make(chan struct{})})
	}
	batch = g.waiting[len(g.waiting)-1]
	batch.keys = append(batch.keys, key)
	if deadline := deadlineOf(ctx); deadline.After(batch.deadline) {
		batch.deadline = deadline
	}
	return batch, len(batch.keys) - 1
}

// landed sends the waiting batch after a round trip has ended.
func (g *gatherer) landed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.flying--
		return
	}
	next := g.waiting[0]
	g.waiting = g.waiting[1:]
	g.send(next)
}

// send reads the keys of a batch for all callers that wait for it.
func (g *gatherer) send(batch *gathered) {
	g.running.Go(func() {
		defer g.landed()
		defer close(batch.done)
		ctx, cancel := context.WithDeadline(context.Background(), batch.deadline)
		defer cancel()
		if err := ctx.Err(); err != nil {
			batch.err = tooLate(err) // all readers have left
			return
		}
		batch.got = make([]cache.Got, len(batch.keys))
		batch.err = g.read(ctx, batch.keys, batch.got)
	})
}

// close refuses further reads and waits for the batches under way.
func (g *gatherer) close() {
	g.mu.Lock()
	g.closed = true
	for _, batch := range g.waiting {
		batch.err = errGathererClosed
		close(batch.done)
	}
	g.waiting = nil
	g.mu.Unlock()
	g.running.Wait()
}

var errGathererClosed = fmt.Errorf("reading a record: %w", cache.ErrClosed)

// tooLate returns the error of a read whose context ended before it was sent.
func tooLate(err error) error {
	return fmt.Errorf("waiting for a round trip to redis: %w: %w", cache.ErrUnavailable, err)
}
