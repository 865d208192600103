package memory

import (
	"context"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Ping returns nil if the store is open. It waits until its file is read.
func (s *Store) Ping(ctx context.Context) error { return s.await(ctx) }

// Pool is nil: there are no connections.
func (s *Store) Pool() *cache.PoolStats { return nil }

// Info describes the store in the form of a server. The used memory is that of
// the entries, counted like [Options].MaxSize.
func (s *Store) Info(ctx context.Context) (cache.ServerInfo, error) {
	if err := s.await(ctx); err != nil {
		return cache.ServerInfo{}, err
	}
	s.records.CleanUp() // makes the counts current
	used, most := int64(s.records.WeightedSize()), s.options.Load().MaxSize
	return cache.ServerInfo{
		Mode:              "memory",
		UptimeSeconds:     int64(time.Since(s.started).Seconds()),
		UsedMemory:        used,
		UsedMemoryHuman:   cache.FormatBytes(used),
		MaxMemory:         most,
		MemoryUsedPercent: 100 * float64(used) / float64(most),
		Keys:              int64(s.records.EstimatedSize()),
		ExpiredKeys:       s.expired.Load(),
		EvictedKeys:       s.evicted.Load(),
	}, nil
}
