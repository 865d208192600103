// Package wire has the JSON types of the admin API, for the endpoints and for the
// command line.
package wire

import (
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
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
	Window        Window                        `json:"window"`
	Near          near.Stats                    `json:"near"`
	Families      map[string]cache.Counts       `json:"families"`
	Routes        map[string]cache.RouteCounts  `json:"routes"`
	Sources       map[string]cache.SourceCounts `json:"sources"`
	Uploads       cache.UploadCounts            `json:"uploads"`
	// LookupCache has all file systems of type lookup_cache.
	LookupCache cache.FileSystemCounts `json:"lookup_cache"`
	StoreErrors StoreErrors            `json:"store_errors"`
	Latency     Latencies              `json:"latency_ms"`
	// Pool is null where there is no server.
	Pool *cache.PoolStats `json:"pool"`
	// Redis is null where there is no server, or it does not answer.
	Redis *RedisStats `json:"redis"`
}

// Window has the counts of the last five minutes, or since the plugin came into
// use if that is less.
type Window struct {
	Since time.Time `json:"since"`
	cache.Counts
	Sources map[string]cache.SourceCounts `json:"sources"`
}

// StoreErrors counts the round trips that failed: the server refused them, or did
// not answer.
type StoreErrors struct {
	Reads  uint64 `json:"reads"`
	Writes uint64 `json:"writes"`
	// Reasons are the same by reason, such as "oom" or "timeout".
	Reasons map[string]StoreErrorReason `json:"reasons"`
	// Last is the latest error of the server, or why there was no answer; "" if nothing
	// failed.
	Last string `json:"last"`
	// LastAt is the time of that error, null if nothing failed.
	LastAt *time.Time `json:"last_at"`
	// LastOp is "read" or "write", LastReason one of the reasons, and LastAddress the
	// address of the server; all are left out if nothing failed.
	LastOp      string `json:"last_op,omitempty"`
	LastReason  string `json:"last_reason,omitempty"`
	LastAddress string `json:"last_address,omitempty"`
}

// Info is the answer of the info endpoint.
type Info struct {
	cache.ServerInfo
	// StoreErrors are left out where nothing failed.
	StoreErrors *StoreErrors `json:"store_errors,omitempty"`
}

// StoreErrorReason counts the round trips that failed for one reason.
type StoreErrorReason struct {
	Reads  uint64 `json:"reads"`
	Writes uint64 `json:"writes"`
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

// Milliseconds returns a duration in milliseconds.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
