package memory

import (
	"context"
	"fmt"
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
		UsedMemoryHuman:   human(used),
		MaxMemory:         most,
		MemoryUsedPercent: 100 * float64(used) / float64(most),
		Keys:              int64(s.records.EstimatedSize()),
		ExpiredKeys:       s.expired.Load(),
		EvictedKeys:       s.evicted.Load(),
	}, nil
}

// human writes a size as Redis does: 512B, 1.00M.
func human(bytes int64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%dB", bytes)
	}
	size, unit := float64(bytes)/(1<<10), 0
	for ; size >= 1<<10 && unit < 3; unit++ {
		size /= 1 << 10
	}
	return fmt.Sprintf("%.2f%c", size, "KMGT"[unit])
}
