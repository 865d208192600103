package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// Stats is the answer of the stats endpoint. Counters count since the plugin
// came into use in this process; latencies are of the last one to two minutes.
type Stats struct {
	// Store is "redis" or "memory".
	Store         string                        `json:"store"`
	TotalRequests uint64                        `json:"total_requests"`
	Hits          uint64                        `json:"hits"`
	Misses        uint64                        `json:"misses"`
	HitRate       float64                       `json:"hit_rate"` // percent
	Near          near.Stats                    `json:"near"`
	Families      map[string]cache.Counts       `json:"families"`
	Routes        map[string]cache.RouteCounts  `json:"routes"`
	Sources       map[string]cache.SourceCounts `json:"sources"`
	Latency       Latencies                     `json:"latency_ms"`
	// Pool is null where there is no server.
	Pool *cache.PoolStats `json:"pool"`
	// Redis is null where there is no server, or it does not answer.
	Redis *RedisStats `json:"redis"`
}

// Latencies has round trips to the server and loads from sources.
type Latencies struct {
	Redis  Quantiles `json:"redis"`
	Source Quantiles `json:"source"`
}

// Quantiles are in milliseconds, 0 where nothing was measured.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// RedisStats is the part of [cache.ServerInfo] that belongs to the statistics.
type RedisStats struct {
	Version           string  `json:"version"`
	Mode              string  `json:"mode"`
	UsedMemory        int64   `json:"used_memory"`
	UsedMemoryHuman   string  `json:"used_memory_human"`
	MemoryUsedPercent float64 `json:"memory_used_percent"`
	ConnectedClients  int64   `json:"connected_clients"`
}

// statsInfoTimeout keeps statistics readable while the server is out of reach.
const statsInfoTimeout = time.Second

func getStats(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	ctx, cancel := context.WithTimeout(r.Context(), statsInfoTimeout)
	defer cancel()
	return writeJSON(w, statsOf(ctx, app.Cache()))
}

func statsOf(ctx context.Context, c *cache.Cache) Stats {
	snap, store := c.Stats().Snapshot(), c.Store()
	return Stats{
		Store:         store.Name(),
		TotalRequests: snap.All.TotalRequests,
		Hits:          snap.All.Hits,
		Misses:        snap.All.Misses,
		HitRate:       snap.All.HitRate,
		Near:          c.Near(),
		Families:      snap.Families,
		Routes:        snap.Routes,
		Sources:       snap.Sources,
		Latency: Latencies{
			Redis:  quantiles(&c.Stats().StoreLatency),
			Source: quantiles(&c.Stats().SourceLatency),
		},
		Pool:  store.Pool(),
		Redis: redisStats(ctx, store),
	}
}

func quantiles(h *cache.Histogram) Quantiles {
	q := h.Quantiles(0.5, 0.95, 0.99)
	return Quantiles{P50: milliseconds(q[0]), P95: milliseconds(q[1]), P99: milliseconds(q[2])}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// hasServer reports whether the store is a server, some network away.
func hasServer(store cache.Store) bool { return store.Pool() != nil }

func redisStats(ctx context.Context, store cache.Store) *RedisStats {
	if !hasServer(store) {
		return nil
	}
	info, err := store.Info(ctx)
	if err != nil {
		return nil // health says so
	}
	return &RedisStats{
		Version: info.Version, Mode: info.Mode,
		UsedMemory: info.UsedMemory, UsedMemoryHuman: info.UsedMemoryHuman,
		MemoryUsedPercent: info.MemoryUsedPercent, ConnectedClients: info.ConnectedClients,
	}
}

func getInfo(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	ctx, cancel := bounded(r)
	defer cancel()
	info, err := app.Cache().Store().Info(ctx)
	if err != nil {
		return storeError(err)
	}
	return writeJSON(w, info)
}
