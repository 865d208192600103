package redis

import (
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Pool describes the connections of all nodes together. Size is the configured
// pool_size, per node.
func (s *Store) Pool() *cache.PoolStats {
	p := &cache.PoolStats{Size: s.options.PoolSize, Breaker: s.nodeBreakers.state()}
	// before the first answer, PoolStats of a cluster's client waits for the list of nodes
	if s.options.ClientType != Cluster || s.answered.Load() {
		addPool(p, s.primary.PoolStats())
	}
	if s.reader != nil && s.reader.answered.Load() {
		addPool(p, s.reader.cluster.PoolStats())
	}
	p.Waits += s.waits.count.Load()
	p.Timeouts += s.waits.timeouts.Load()
	p.WaitSeconds += time.Duration(s.waits.total.Load()).Seconds()
	return p
}

func addPool(p *cache.PoolStats, more *goredis.PoolStats) {
	p.Total += more.TotalConns
	p.Idle += more.IdleConns
	p.InUse = p.Total - min(p.Total, p.Idle)
	p.Hits += more.Hits
	p.Misses += more.Misses
	p.Timeouts += more.Timeouts
	p.Waits += more.WaitCount
	p.WaitSeconds += time.Duration(more.WaitDurationNs).Seconds()
}
