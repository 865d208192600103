package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/clock"
)

// replicaRest is how long reads go to the primary after a replica has failed.
// It is short because other replicas may work.
const replicaRest = time.Second

// reader finds the replica to read a key from. It has its own client, which is
// never used for writes.
type reader struct {
	cluster   *goredis.ClusterClient
	answered  atomic.Bool // once
	restUntil atomic.Int64
}

func newReader(o *Options, dial dialFunc, sentinels *sentinels) *reader {
	if o.ReadFrom == Primary {
		return nil
	}
	options := clusterOptions(o, dial)
	options.ReadOnly, options.RouteByLatency = true, o.ReadFrom == Nearest
	r := new(reader)
	if o.ClientType == Failover {
		options.Addrs, options.ClusterSlots = nil, sentinels.slots
	}
	r.cluster = goredis.NewClusterClient(options)
	return r
}

// read fills got from replicas, as far as they answer, and returns the keys
// that are left.
func (r *reader) read(ctx context.Context, s *Store, keys []string, got []cache.Got) (left []int) {
	if int64(clock.Now()) < r.restUntil.Load() {
		return all(len(keys))
	}
	s.start.now()
	// a replica that hangs must leave time to ask the primary
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	byNode := make(map[*goredis.Client][]int)
	for i, key := range keys {
		node, err := r.cluster.SlaveForKey(ctx, key)
		if err != nil {
			r.rest()
			return all(len(keys))
		}
		byNode[node] = append(byNode[node], i)
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	for node, indexes := range byNode {
		group.Go(func() {
			if !r.readNode(ctx, s, node, indexes, keys, got) {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, indexes...)
			}
		})
	}
	group.Wait()
	if len(left) > 0 {
		r.rest()
	}
	return left
}

func (r *reader) readNode(ctx context.Context, s *Store, node *goredis.Client, indexes []int, keys []string, got []cache.Got) bool {
	if len(indexes) == len(keys) {
		return s.readFrom(ctx, node, keys, got) == nil
	}
	part, partly := pick(keys, indexes), make([]cache.Got, len(indexes))
	if s.readFrom(ctx, node, part, partly) != nil {
		return false
	}
	for i, index := range indexes {
		got[index] = partly[i]
	}
	return true
}

// rest sends reads to the primary for replicaRest, and looks for changes of the
// cluster.
func (r *reader) rest() {
	r.restUntil.Store(int64(clock.Now() + replicaRest))
	r.cluster.ReloadState(context.Background())
}

func all(n int) []int {
	indexes := make([]int, n)
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

func pick(keys []string, indexes []int) []string {
	picked := make([]string, len(indexes))
	for i, index := range indexes {
		picked[i] = keys[index]
	}
	return picked
}
