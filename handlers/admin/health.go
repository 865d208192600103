// The health of the store for monitoring, in the format of
// draft-inadarei-api-health-check.

package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	// healthTimeout is the timeout for the store, so that an unreachable store is
	// reported soon.
	healthTimeout = time.Second
	// minHealthLookups is how many lookups are needed before their hit rate is
	// judged: a cache begins empty.
	minHealthLookups = 100
	// minHealthTrips is how many round trips are needed before their quantiles are
	// judged: those that open a connection are slow.
	minHealthTrips = 100
	// refusedFor is how long health warns after the server refused something.
	refusedFor = time.Minute
	// sourceErrorShare is the part of the requests to a source that may fail.
	sourceErrorShare = 0.1
)

// getLive answers 200 while Caddy runs, whatever the state of the store.
func getLive(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	return writeJSONAs(w, http.StatusOK, "application/health+json", wire.Health{Status: wire.HealthPass})
}

// report is a Health to which checks are added.
type report struct{ wire.Health }

// getHealth answers 200 for pass and warn, 503 for fail.
func getHealth(w http.ResponseWriter, r *http.Request) error {
	health := wire.Health{Status: wire.HealthFail, Output: notRunning}
	if app, ok := lifetime.Running(); ok {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		health = HealthOf(ctx, app.Cache(), app.Policy().Alert)
	}
	status := http.StatusOK
	if health.Status == wire.HealthFail {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSONAs(w, status, "application/health+json", health)
}

// HealthOf asks the store now, and compares what it says and what was counted
// with the alert thresholds: the hit rate of the last five minutes, once there
// were 100 lookups in them; and of a server, the 95th percentile of the round
// trips of the last one to two minutes, once there were 100, the memory in use (of maxmemory or,
// without one, of the machine's), and its clients. The embedded store is meant
// to be full, so that is no alarm.
func HealthOf(ctx context.Context, c *cache.Cache, alert lookup.Alert) wire.Health {
	h := report{wire.Health{Status: wire.HealthPass, Checks: make(map[string][]wire.HealthCheck)}}
	store := c.Store()

	started := time.Now()
	err := store.Ping(ctx)
	ping := wire.HealthCheck{Value: milliseconds(time.Since(started)), Unit: "ms", Status: wire.HealthPass}
	if err != nil {
		ping.Status, ping.Output = wire.HealthFail, "the store does not answer"
	}
	h.add(store.Name()+":ping", ping)
	h.checkPending(c)
	h.checkFile(store)
	window := c.Stats().Snapshot().Window
	h.checkSources(window)
	if err != nil {
		return h.Health
	}
	lookups := window.Counts
	h.compare("lookups:hit_rate", lookups.HitRate, "percent",
		lookups.TotalRequests >= minHealthLookups && lookups.HitRate < alert.HitRateBelow,
		"hit rate is %.1f%%, below %g%%", lookups.HitRate, alert.HitRateBelow)
	if hasServer(store) {
		h.checkServer(ctx, c, alert)
	}
	return h.Health
}

// checkPending warns of invalidations that the store has not carried out.
func (h *report) checkPending(c *cache.Cache) {
	pending := c.Pending()
	check := wire.HealthCheck{Value: pending.Total(), Unit: "invalidations", Status: wire.HealthPass}
	switch {
	case pending.All:
		check.Status = wire.HealthWarn
		check.Output = "too many invalidations are pending: this node uses no record until all records of the lookups are dropped"
	case pending.Total() > 0:
		check.Status = wire.HealthWarn
		check.Output = fmt.Sprintf("%d invalidations are pending since %s: this node does not use their records and tries again, other nodes may use them",
			pending.Total(), pending.Since.UTC().Format(time.RFC3339))
	}
	h.add("invalidations:pending", check)
}

// checkFile warns where the embedded store cannot save its records.
func (h *report) checkFile(store cache.Store) {
	saver, ok := store.(interface{ FileStatus() memory.FileStatus })
	if !ok {
		return
	}
	status := saver.FileStatus()
	if status.File == "" {
		return
	}
	check := wire.HealthCheck{Value: status.Records, Unit: "records", Status: wire.HealthPass}
	if status.Err != nil {
		check.Status, check.Output = wire.HealthWarn, "records cannot be saved to the file of persist: "+status.Err.Error()
	}
	h.add(store.Name()+":file", check)
}

// checkSources warns of each source that failed for a tenth of the requests to
// it or more.
func (h *report) checkSources(window cache.Window) {
	for _, name := range slices.Sorted(maps.Keys(window.Sources)) {
		source := window.Sources[name]
		h.compare("source:"+name, source.Errors, "errors",
			source.Errors > 0 && float64(source.Errors) >= sourceErrorShare*float64(source.Requests),
			"source %s failed for %d of %d requests, the last time at %s: %s",
			name, source.Errors, source.Requests, source.LastErrorAt.UTC().Format(time.RFC3339), source.LastError)
	}
}

// checkRefused warns while the server refuses requests, most often because it
// is full or its user lacks permissions.
func (h *report) checkRefused(name string, refused cache.StoreErrorCounts) {
	for _, kind := range []struct {
		name  string
		count uint64
		last  cache.Refusal
	}{{"reads", refused.Reads, refused.LastRead}, {"writes", refused.Writes, refused.LastWrite}} {
		h.compare(name+":refused_"+kind.name, kind.count, kind.name, !kind.last.At.IsZero() && time.Since(kind.last.At) < refusedFor,
			"the server refuses %s, the last time at %s: %s", kind.name, kind.last.At.UTC().Format(time.RFC3339), kind.last.Text)
	}
}

func (h *report) checkServer(ctx context.Context, c *cache.Cache, alert lookup.Alert) {
	name := c.Store().Name()
	h.checkRefused(name, c.Stats().StoreErrors.Counts())
	p95 := c.Stats().StoreLatency.Quantiles(0.95)[0]
	h.compare(name+":latency_p95", milliseconds(p95), "ms",
		p95 > alert.LatencyAbove && c.Stats().StoreLatency.Recent() >= minHealthTrips,
		"95%% of the round trips take up to %s, above %s", p95, alert.LatencyAbove)

	info, err := c.Store().Info(ctx)
	if err != nil {
		h.add(name+":info", wire.HealthCheck{Status: wire.HealthWarn, Output: "memory and clients of the store cannot be read"})
		return
	}
	h.compare(name+":memory_used", info.MemoryUsedPercent, "percent", info.MemoryUsedPercent > alert.MemoryAbove,
		"memory in use is %.1f%%, above %g%%", info.MemoryUsedPercent, alert.MemoryAbove)
	h.compare(name+":connected_clients", info.ConnectedClients, "clients", info.ConnectedClients > alert.ClientsAbove,
		"%d clients are connected, above %d", info.ConnectedClients, alert.ClientsAbove)
}

// compare adds a check, which is a warning if beyond is true.
func (h *report) compare(name string, value any, unit string, beyond bool, format string, args ...any) {
	check := wire.HealthCheck{Value: value, Unit: unit, Status: wire.HealthPass}
	if beyond {
		check.Status, check.Output = wire.HealthWarn, fmt.Sprintf(format, args...)
	}
	h.add(name, check)
}

func (h *report) add(name string, check wire.HealthCheck) {
	h.Checks[name] = []wire.HealthCheck{check}
	if check.Status == wire.HealthPass {
		return
	}
	if h.Status != wire.HealthFail { // the worst there is
		h.Status = check.Status
	}
	if h.Output != "" {
		h.Output += "; "
	}
	h.Output += check.Output
}
