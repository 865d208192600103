package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Ping reports whether the store is open. It waits until its file is read.
func (s *Store) Ping(ctx context.Context) error { return s.await(ctx) }

// Pool is nil: there are no connections.
func (s *Store) Pool() *cache.PoolStats { return nil }

// Info describes the store as if it were a server of its own. The memory is
// that of the entries, as [Options].MaxSize counts it.
func (s *Store) Info(ctx context.Context) (cache.ServerInfo, error) {
	if err := s.await(ctx); err != nil {
		return cache.ServerInfo{}, err
	}
	s.records.CleanUp() // counts what was written just now
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
