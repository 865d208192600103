package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/health"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// statsInfoTimeout is how long stats waits for the server, which may be unreachable.
const statsInfoTimeout = time.Second

func getStats(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	ctx, cancel := context.WithTimeout(r.Context(), statsInfoTimeout)
	defer cancel()
	return writeJSON(w, StatsOf(ctx, app.Cache()))
}

// StatsOf reads the statistics of a cache, and asks its server about itself.
func StatsOf(ctx context.Context, c *cache.Cache) wire.Stats {
	snap, store := c.Stats().Snapshot(), c.Store()
	return wire.Stats{
		Store:         store.Name(),
		TotalRequests: snap.All.TotalRequests,
		Hits:          snap.All.Hits,
		Misses:        snap.All.Misses,
		HitRate:       snap.All.HitRate,
		Window:        wire.Window{Since: snap.Window.Since.UTC(), Counts: snap.Window.Counts, Sources: snap.Window.Sources},
		Near:          c.Near(),
		Families:      snap.Families,
		Routes:        snap.Routes,
		Sources:       snap.Sources,
		Uploads:       c.Stats().Uploads.Counts(),
		LookupCache:   c.Stats().FileSystem.Counts(),
		StoreErrors:   storeErrors(c.Stats().StoreErrors.Counts()),
		Latency: wire.Latencies{
			Redis:  quantiles(&c.Stats().StoreLatency),
			Source: quantiles(&c.Stats().SourceLatency),
		},
		Pool:  store.Pool(),
		Redis: redisStats(ctx, store),
	}
}

func storeErrors(counts cache.StoreErrorCounts) wire.StoreErrors {
	e := wire.StoreErrors{Reads: counts.Reads, Writes: counts.Writes, Reasons: make(map[string]wire.StoreErrorReason), Last: counts.Last}
	if !counts.LastAt.IsZero() {
		e.LastAt, e.LastAddress = &counts.LastAt, counts.LastAddress
		e.LastOp, e.LastReason = counts.LastFailure.Op.String(), counts.LastFailure.Reason
	}
	for failure, n := range counts.ByReason {
		reason := e.Reasons[failure.Reason]
		if failure.Op == cache.StoreRead {
			reason.Reads = n
		} else {
			reason.Writes = n
		}
		e.Reasons[failure.Reason] = reason
	}
	return e
}

func quantiles(h *cache.Histogram) wire.Quantiles {
	q := h.Quantiles(0.5, 0.95, 0.99)
	return wire.Quantiles{P50: wire.Milliseconds(q[0]), P95: wire.Milliseconds(q[1]), P99: wire.Milliseconds(q[2])}
}

// hasServer reports whether the store is a server.
func hasServer(store cache.Store) bool { return store.Pool() != nil }

func redisStats(ctx context.Context, store cache.Store) *wire.RedisStats {
	if !hasServer(store) {
		return nil
	}
	info, err := store.Info(ctx)
	if err != nil {
		return nil // health reports the error
	}
	return &wire.RedisStats{
		Version: info.Version, Mode: info.Mode,
		UsedMemory: info.UsedMemory, UsedMemoryHuman: info.UsedMemoryHuman,
		MemoryUsedPercent: info.MemoryUsedPercent, ConnectedClients: info.ConnectedClients,
	}
}

func getInfo(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	ctx, cancel := withTimeout(r)
	defer cancel()
	store := app.Cache().Store()
	server, err := store.Info(ctx)
	switch {
	case unavailable(err):
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err, Message: health.NoAnswer(store, err)}
	case err != nil:
		return storeError(err)
	}
	info := wire.Info{ServerInfo: server}
	if errors := storeErrors(app.Cache().Stats().StoreErrors.Counts()); errors.LastAt != nil {
		info.StoreErrors = &errors
	}
	return writeJSON(w, info)
}
