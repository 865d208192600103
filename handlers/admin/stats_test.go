package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// sourceFunc is a source of records.
type sourceFunc func(context.Context) (cache.Loaded, error)

func (*sourceFunc) Name() string { return "http" }

func (f *sourceFunc) Load(ctx context.Context, _ cache.Request, _ *cache.Record) (cache.Loaded, error) {
	return (*f)(ctx)
}

// lookups looks keys up through a route of the app.
func lookups(t *testing.T, app *lookuptest.App, family string, source cache.Source, keys ...string) {
	t.Helper()
	route, err := app.Cache().NewLookup(cache.LookupOptions{Name: "my " + family, Family: family, TTL: time.Hour, Source: source})
	require.NoError(t, err)
	for _, key := range keys {
		route.Find(t.Context(), cache.Request{ID: key, Key: key})
	}
}

func TestStatsCountLookupsByOutcome(t *testing.T) {
	app := newMemoryApp(t)
	c := startAdmin(t, app)
	app.Put(t, "found", "{}")
	app.Put(t, "absent", "null")
	app.Put(t, "denied", `{"denied": 403}`)
	lookups(t, app, cache.Session, nil, "found", "absent", "denied", "none")
	failing := sourceFunc(func(context.Context) (cache.Loaded, error) { return cache.Loaded{}, errors.New("failing") })
	lookups(t, app, cache.FileMeta, &failing, "none")

	a := c.get(t, "stats")
	require.Equal(t, http.StatusOK, a.Status)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	var stats map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.Body), &stats))
	latency := stats["latency_ms"].(map[string]any)
	require.Greater(t, latency["source"].(map[string]any)["p99"], 0.0)
	delete(latency, "source") // it was measured
	window := stats["window"].(map[string]any)
	since, err := time.Parse(time.RFC3339, window["since"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), since, time.Minute)
	delete(window, "since")
	got, err := json.Marshal(stats)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"store": "memory", "total_requests": 5, "hits": 3, "misses": 2, "hit_rate": 60,
		"window": {
			"total_requests": 5, "hits": 3, "misses": 2, "absent": 2, "denied": 1, "stale": 0, "errors": 1, "hit_rate": 60,
			"sources": {"http": {"requests": 1, "errors": 1, "coalesced": 0}}
		},
		"uploads": {"active": 0, "started": 0, "completed": 0, "failed": 0, "listeners": 0}, "lookup_cache": {"hits": 0, "absent": 0, "misses": 0, "errors": 0, "entries": 0, "open_files": 0, "bytes": 0},
		"store_errors": {"reads": 0, "writes": 0, "reasons": {}, "last": "", "last_at": null},
		"near": {"coherent": false, "hits": 0, "entries": 0, "bytes": 0, "max_bytes": 0, "evictions": 0, "invalidations": 0},
		"families": {
			"session": {"total_requests": 4, "hits": 3, "misses": 1, "absent": 2, "denied": 1, "stale": 0, "errors": 0, "hit_rate": 75},
			"file_meta": {"total_requests": 1, "hits": 0, "misses": 1, "absent": 0, "denied": 0, "stale": 0, "errors": 1, "hit_rate": 0},
			"upload_progress": {"total_requests": 0, "hits": 0, "misses": 0, "absent": 0, "denied": 0, "stale": 0, "errors": 0, "hit_rate": 0}
		},
		"routes": {
			"my session": {"family": "session", "total_requests": 4, "hits": 3, "misses": 1, "absent": 2, "denied": 1, "stale": 0, "errors": 0, "hit_rate": 75},
			"my file_meta": {"family": "file_meta", "total_requests": 1, "hits": 0, "misses": 1, "absent": 0, "denied": 0, "stale": 0, "errors": 1, "hit_rate": 0}
		},
		"sources": {"http": {"requests": 1, "errors": 1, "coalesced": 0}},
		"latency_ms": {"redis": {"p50": 0, "p95": 0, "p99": 0}},
		"pool": null, "redis": null
	}`, string(got))
}

func TestStatsAreWholeBeforeTheFirstLookup(t *testing.T) {
	c := startAdmin(t, newMemoryApp(t))
	a := c.get(t, "stats")
	require.Contains(t, a.Body, `"routes":{}`)
	require.Contains(t, a.Body, `"sources":{}`)
	require.Contains(t, a.Body, `"latency_ms":{"redis":{"p50":0,"p95":0,"p99":0},"source":{"p50":0,"p95":0,"p99":0}}`)
}

func TestStatsHaveTheFiguresOfPoolAndServer(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "100mb")
	app := newRedisApp(t, server)
	c := startAdmin(t, app)
	app.Put(t, "found", "{}")
	lookups(t, app, cache.Session, nil, "found")

	var stats wire.Stats
	a := c.get(t, "stats")
	require.Equal(t, http.StatusOK, a.Status)
	require.NoError(t, json.Unmarshal([]byte(a.Body), &stats))
	require.Equal(t, "redis", stats.Store)
	require.Positive(t, stats.Latency.Redis.P50)
	require.LessOrEqual(t, stats.Latency.Redis.P50, stats.Latency.Redis.P95)
	require.LessOrEqual(t, stats.Latency.Redis.P95, stats.Latency.Redis.P99)
	require.Positive(t, stats.Pool.Size)
	require.Positive(t, stats.Pool.Total)
	require.Regexp(t, `^\d+\.\d+`, stats.Redis.Version)
	require.Equal(t, "standalone", stats.Redis.Mode)
	require.Positive(t, stats.Redis.UsedMemory)
	require.Regexp(t, `^\d.*[KMG]$`, stats.Redis.UsedMemoryHuman)
	require.InDelta(t, 100*float64(stats.Redis.UsedMemory)/100e6, stats.Redis.MemoryUsedPercent, 5)
	require.Positive(t, stats.Redis.ConnectedClients)

	var blocks struct{ Pool, Redis map[string]any }
	require.NoError(t, json.Unmarshal([]byte(a.Body), &blocks))
	for _, name := range []string{"size", "total", "idle", "in_use", "hits", "misses", "timeouts", "waits", "breaker"} {
		require.Contains(t, blocks.Pool, name)
	}
	require.ElementsMatch(t, []string{
		"version", "mode", "used_memory", "used_memory_human", "memory_used_percent", "connected_clients",
	}, slices.Collect(maps.Keys(blocks.Redis)))
}

func TestStatsCountUploadsAndWhatTheServerRefuses(t *testing.T) {
	app := newMemoryApp(t)
	c := startAdmin(t, app)
	uploads := &app.Cache().Stats().Uploads
	for range 4 {
		uploads.Begin()
	}
	uploads.End(true)
	uploads.End(true)
	uploads.End(false)
	app.Cache().Stats().StoreErrors.Failed(cache.StoreFailure{Op: cache.StoreRead, Reason: "noperm"}, "NOPERM no", "a:1", cache.RefusedCommand)
	app.Cache().Stats().StoreErrors.Failed(cache.StoreFailure{Op: cache.StoreWrite, Reason: "oom"}, "OOM full", "a:1", cache.RefusedCommand)
	var stats wire.Stats
	require.NoError(t, json.Unmarshal([]byte(c.get(t, "stats").Body), &stats))
	require.Equal(t, cache.UploadCounts{Active: 1, Started: 4, Completed: 2, Failed: 1}, stats.Uploads)
	require.EqualValues(t, 1, stats.StoreErrors.Reads)
	require.EqualValues(t, 1, stats.StoreErrors.Writes)
	require.Equal(t, map[string]wire.StoreErrorReason{"noperm": {Reads: 1}, "oom": {Writes: 1}}, stats.StoreErrors.Reasons)
	require.Equal(t, "OOM full", stats.StoreErrors.Last)
	require.WithinDuration(t, time.Now(), *stats.StoreErrors.LastAt, time.Minute)
	require.Equal(t, "write oom a:1", stats.StoreErrors.LastOp+" "+stats.StoreErrors.LastReason+" "+stats.StoreErrors.LastAddress)
	var info wire.Info
	require.NoError(t, json.Unmarshal([]byte(c.get(t, "info").Body), &info))
	require.Equal(t, stats.StoreErrors, *info.StoreErrors)
}

func TestInfoDescribesTheStore(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		app.Put(t, "a", "{}")
		var info cache.ServerInfo
		a := c.get(t, "info")
		require.Equal(t, http.StatusOK, a.Status)
		require.NoError(t, json.Unmarshal([]byte(a.Body), &info))
		require.EqualValues(t, 1, info.Keys)
		require.NotEmpty(t, info.Mode)
		require.Positive(t, info.UsedMemory)
		require.NotContains(t, a.Body, "store_errors", "nothing failed")
		for _, name := range []string{"version", "mode", "uptime_seconds", "used_memory", "maxmemory", "connected_clients"} {
			require.Contains(t, a.Body, `"`+name+`":`)
		}
	})
}
