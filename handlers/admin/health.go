// Whether the store answers, and how well, as a monitor asks it: in the format
// of draft-inadarei-api-health-check.

package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// HealthStatus is what a check, or all of them together, came to.
type HealthStatus string

// The statuses, from the best to the worst.
const (
	HealthPass HealthStatus = "pass"
	HealthWarn HealthStatus = "warn" // beyond an alert threshold
	HealthFail HealthStatus = "fail" // the store does not answer
)

// Health is the answer of the health endpoint.
type Health struct {
	Status HealthStatus `json:"status"`
	// Output says what is wrong, if anything is.
	Output string `json:"output,omitempty"`
	// Checks by what they measure, like "redis:ping"; each has one entry.
	Checks map[string][]HealthCheck `json:"checks,omitempty"`
}

// HealthCheck is one measurement, with what is wrong with it.
type HealthCheck struct {
	Value  any          `json:"observedValue,omitempty"`
	Unit   string       `json:"observedUnit,omitempty"`
	Status HealthStatus `json:"status"`
	Output string       `json:"output,omitempty"`
}

const (
	// healthTimeout bounds what health asks the store, so that it tells of a
	// dead one in good time.
	healthTimeout = time.Second
	// minHealthLookups is how many lookups have to be counted before their
	// hit rate says anything: a cache begins empty.
	minHealthLookups = 100
)

// getHealth answers 200 for pass and warn, 503 for fail.
func getHealth(w http.ResponseWriter, r *http.Request) error {
	health := Health{Status: HealthFail, Output: notRunning}
	if app, ok := lifetime.Running(); ok {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		health = healthOf(ctx, app.Cache(), app.Policy().Alert)
	}
	status := http.StatusOK
	if health.Status == HealthFail {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSONAs(w, status, "application/health+json", health)
}

// healthOf asks the store now, and compares what it says and what was counted
// with the alert thresholds: the hit rate since the plugin came into use, once
// there were 100 lookups; and of a server, the 95th percentile of the round
// trips of the last one to two minutes, the memory in use (of maxmemory or,
// without one, of the machine's), and its clients. The embedded store is meant
// to be full, so that is no alarm.
func healthOf(ctx context.Context, c *cache.Cache, alert lookup.Alert) Health {
	h := Health{Status: HealthPass, Checks: make(map[string][]HealthCheck)}
	store := c.Store()

	started := time.Now()
	err := store.Ping(ctx)
	ping := HealthCheck{Value: milliseconds(time.Since(started)), Unit: "ms", Status: HealthPass}
	if err != nil {
		ping.Status, ping.Output = HealthFail, "the store does not answer"
	}
	h.add(store.Name()+":ping", ping)
	h.checkPending(c)
	if err != nil {
		return h
	}

	lookups := c.Stats().Snapshot().All
	h.compare("lookups:hit_rate", lookups.HitRate, "percent",
		lookups.TotalRequests >= minHealthLookups && lookups.HitRate < alert.HitRateBelow,
		"hit rate is %.1f%%, below %g%%", lookups.HitRate, alert.HitRateBelow)
	if hasServer(store) {
		h.checkServer(ctx, c, alert)
	}
	return h
}

// checkPending warns of invalidations that the store has not carried out.
func (h *Health) checkPending(c *cache.Cache) {
	pending := c.Pending()
	check := HealthCheck{Value: pending.Total(), Unit: "invalidations", Status: HealthPass}
	switch {
	case pending.All:
		check.Status = HealthWarn
		check.Output = "too many invalidations are pending: this node uses no record until all records of the lookups are dropped"
	case pending.Total() > 0:
		check.Status = HealthWarn
		check.Output = fmt.Sprintf("%d invalidations are pending since %s: this node does not use their records and tries again, other nodes may use them",
			pending.Total(), pending.Since.UTC().Format(time.RFC3339))
	}
	h.add("invalidations:pending", check)
}

func (h *Health) checkServer(ctx context.Context, c *cache.Cache, alert lookup.Alert) {
	name := c.Store().Name()
	p95 := c.Stats().StoreLatency.Quantiles(0.95)[0]
	h.compare(name+":latency_p95", milliseconds(p95), "ms", p95 > alert.LatencyAbove,
		"95%% of the round trips take up to %s, above %s", p95, alert.LatencyAbove)

	info, err := c.Store().Info(ctx)
	if err != nil {
		h.add(name+":info", HealthCheck{Status: HealthWarn, Output: "memory and clients of the store cannot be read"})
		return
	}
	h.compare(name+":memory_used", info.MemoryUsedPercent, "percent", info.MemoryUsedPercent > alert.MemoryAbove,
		"memory in use is %.1f%%, above %g%%", info.MemoryUsedPercent, alert.MemoryAbove)
	h.compare(name+":connected_clients", info.ConnectedClients, "clients", info.ConnectedClients > alert.ClientsAbove,
		"%d clients are connected, above %d", info.ConnectedClients, alert.ClientsAbove)
}

// compare adds a check that is a warning where beyond says so.
func (h *Health) compare(name string, value any, unit string, beyond bool, format string, args ...any) {
	check := HealthCheck{Value: value, Unit: unit, Status: HealthPass}
	if beyond {
		check.Status, check.Output = HealthWarn, fmt.Sprintf(format, args...)
	}
	h.add(name, check)
}

func (h *Health) add(name string, check HealthCheck) {
	h.Checks[name] = []HealthCheck{check}
	if check.Status == HealthPass {
		return
	}
	if h.Status != HealthFail { // the worst there is
		h.Status = check.Status
	}
	if h.Output != "" {
		h.Output += "; "
	}
	h.Output += check.Output
}
