package dashboard

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

// combine is how the figures of several nodes become one figure.
type combine int

const (
	sum     combine = iota // for rates, sizes and numbers
	highest                // for figures whose high values are a problem
	lowest                 // for figures whose low values are a problem
)

// series are the figures that the page has a history of. Rates are per second,
// latencies in milliseconds, shares in percent.
var series = func() map[string]combine {
	all := map[string]combine{
		"near_hits": sum, "near_entries": sum, "near_bytes": sum, "near_evictions": sum, "near_invalidations": sum,
		"near_fill": highest, "near_coherent": lowest,
		"redis_p50": highest, "redis_p95": highest, "redis_p99": highest,
		"source_p50": highest, "source_p95": highest, "source_p99": highest,
		"source_requests": sum, "source_errors": sum, "source_coalesced": sum,
		"refused_reads": sum, "refused_writes": sum,
		"pool_total": sum, "pool_idle": sum, "pool_in_use": sum, "pool_waits": sum, "pool_timeouts": sum,
		// of the server, which all nodes share
		"memory_percent": highest, "clients": highest,
		"uploads": sum,
	}
	for _, family := range cache.FamilyNames() {
		for _, outcome := range outcomes {
			all[family+"_"+outcome] = sum
		}
	}
	return all
}()

// outcomes are the results of the lookups of a family.
var outcomes = []string{"hits", "misses", "absent", "denied", "stale", "errors"}

// figures are the figures of one node at one time.
type figures struct {
	// Node is unique, Name is that of the host.
	Node    string `json:"node"`
	Name    string `json:"name"`
	Version string `json:"version"`
	// Started is when the node began to measure.
	Started time.Time `json:"started"`
	// Values by series. A value that could not be measured is missing.
	Values map[string]float64 `json:"values"`
	// HitRate is that of the Lookups of the last five minutes, in percent.
	HitRate  float64    `json:"hit_rate"`
	Lookups  uint64     `json:"lookups"`
	Breaker  string     `json:"breaker,omitempty"`
	Status   string     `json:"status"`
	Warnings []warning  `json:"warnings"`
	Routes   []traffic  `json:"routes"`
	Sources  []requests `json:"sources"`
}

// warning is a check of health that did not pass.
type warning struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Output string `json:"output"`
	// Help is the address of what to do about the check.
	Help string `json:"help"`
}

// traffic has the figures of the lookups of one route.
type traffic struct {
	Name   string  `json:"name"`
	Family string  `json:"family"`
	Rate   float64 `json:"rate"`   // lookups per second
	Hits   float64 `json:"hits"`   // per second
	Errors float64 `json:"errors"` // per second
	Total  uint64  `json:"total"`  // lookups since the process began
}

// requests has the figures of the requests to the sources of one kind.
type requests struct {
	Name   string  `json:"name"`
	Rate   float64 `json:"rate"`   // requests per second
	Errors float64 `json:"errors"` // per second
	Total  uint64  `json:"total"`
}

// maxRoutes bounds the routes of one node; those with the most lookups stay.
const maxRoutes = 100

// measured is one measurement, from which figures are made.
type measured struct {
	at     time.Time
	stats  wire.Stats
	health wire.Health
}

// since makes figures of a measurement, with rates since an earlier one of the same
// process.
func (m measured) since(before measured) figures {
	seconds := m.at.Sub(before.at).Seconds()
	rate := func(now, then uint64) float64 {
		if seconds <= 0 || now < then {
			return 0
		}
		return float64(now-then) / seconds
	}
	now, then := m.stats, before.stats
	f := figures{
		HitRate: now.Window.HitRate, Lookups: now.Window.TotalRequests, Status: string(m.health.Status),
		Values: map[string]float64{
			"refused_reads":  rate(now.StoreErrors.Reads, then.StoreErrors.Reads),
			"refused_writes": rate(now.StoreErrors.Writes, then.StoreErrors.Writes),
			"redis_p50":      now.Latency.Redis.P50, "redis_p95": now.Latency.Redis.P95, "redis_p99": now.Latency.Redis.P99,
			"source_p50": now.Latency.Source.P50, "source_p95": now.Latency.Source.P95, "source_p99": now.Latency.Source.P99,
			"uploads": float64(now.Uploads.Active),
		},
		Warnings: warningsOf(m.health), Routes: []traffic{}, Sources: []requests{},
	}
	f.addNear(now.Near, then.Near, rate)
	f.addPool(now.Pool, then.Pool, rate)
	if r := now.Redis; r != nil {
		f.Values["memory_percent"], f.Values["clients"] = r.MemoryUsedPercent, float64(r.ConnectedClients)
	}
	for name, n := range now.Families {
		b := then.Families[name]
		for i, pair := range [][2]uint64{
			{n.Hits, b.Hits}, {n.Misses, b.Misses}, {n.Absent, b.Absent}, {n.Denied, b.Denied}, {n.Stale, b.Stale}, {n.Errors, b.Errors},
		} {
			f.Values[name+"_"+outcomes[i]] = rate(pair[0], pair[1])
		}
	}
	for name, n := range now.Routes {
		b := then.Routes[name]
		f.Routes = append(f.Routes, traffic{
			Name: name, Family: n.Family, Total: n.TotalRequests,
			Rate: rate(n.TotalRequests, b.TotalRequests), Hits: rate(n.Hits, b.Hits), Errors: rate(n.Errors, b.Errors),
		})
	}
	f.Routes = busiest(f.Routes)
	for name, n := range now.Sources {
		b := then.Sources[name]
		s := requests{Name: name, Total: n.Requests, Rate: rate(n.Requests, b.Requests), Errors: rate(n.Errors, b.Errors)}
		f.Sources = append(f.Sources, s)
		f.Values["source_requests"] += s.Rate
		f.Values["source_errors"] += s.Errors
		f.Values["source_coalesced"] += rate(n.Coalesced, b.Coalesced)
	}
	slices.SortFunc(f.Sources, func(a, b requests) int { return cmp.Compare(a.Name, b.Name) })
	return f
}

// addNear adds the figures of the near cache, if there is one.
func (f *figures) addNear(now, then near.Stats, rate func(now, then uint64) float64) {
	if now.MaxBytes == 0 {
		return
	}
	f.Values["near_coherent"] = number(now.Coherent)
	f.Values["near_hits"] = rate(now.Hits, then.Hits)
	f.Values["near_entries"], f.Values["near_bytes"] = float64(now.Entries), float64(now.Bytes)
	f.Values["near_fill"] = 100 * float64(now.Bytes) / float64(now.MaxBytes)
	f.Values["near_evictions"] = rate(now.Evictions, then.Evictions)
	f.Values["near_invalidations"] = rate(now.Invalidations, then.Invalidations)
}

// addPool adds the figures of the connection pool, if the store is a server.
func (f *figures) addPool(now, then *cache.PoolStats, rate func(now, then uint64) float64) {
	if now == nil {
		return
	}
	f.Breaker = now.Breaker
	f.Values["pool_total"], f.Values["pool_idle"], f.Values["pool_in_use"] = float64(now.Total), float64(now.Idle), float64(now.InUse)
	if then != nil {
		f.Values["pool_waits"] = rate(uint64(now.Waits), uint64(then.Waits))
		f.Values["pool_timeouts"] = rate(uint64(now.Timeouts), uint64(then.Timeouts))
	}
}

// breakerStates are the states of a circuit breaker, from the best to the worst.
var breakerStates = []string{"closed", "half-open", "open"}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// warningsOf lists the checks that did not pass, the worst first.
func warningsOf(health wire.Health) []warning {
	warnings := []warning{}
	for _, name := range slices.Sorted(maps.Keys(health.Checks)) {
		for _, check := range health.Checks[name] {
			if check.Status != wire.HealthPass {
				warnings = append(warnings, warning{name, string(check.Status), check.Output, check.Links["runbook"]})
			}
		}
	}
	slices.SortStableFunc(warnings, func(a, b warning) int { return severity(b.Status) - severity(a.Status) })
	return warnings
}

// severity orders the statuses of health.
func severity(status string) int {
	return slices.Index([]string{string(wire.HealthPass), string(wire.HealthWarn), string(wire.HealthFail)}, status)
}

// busiest sorts routes by traffic and returns the first [maxRoutes].
func busiest(routes []traffic) []traffic {
	slices.SortFunc(routes, func(a, b traffic) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Total, a.Total), cmp.Compare(a.Name, b.Name))
	})
	return routes[:min(len(routes), maxRoutes)]
}

// together combines the figures of nodes into those of all. Each warning names its node.
func together(nodes []figures) figures {
	all := figures{
		Node: allNodes, Status: string(wire.HealthPass), Values: make(map[string]float64),
		Warnings: []warning{}, Routes: []traffic{}, Sources: []requests{},
	}
	routes, sources := make(map[string]traffic), make(map[string]requests)
	var hits float64
	for _, f := range nodes {
		if severity(f.Status) > severity(all.Status) {
			all.Status = f.Status
		}
		if slices.Index(breakerStates, f.Breaker) > slices.Index(breakerStates, all.Breaker) {
			all.Breaker = f.Breaker
		}
		for name, value := range f.Values {
			had, ok := all.Values[name]
			all.Values[name] = combined(series[name], had, value, ok)
		}
		for _, w := range f.Warnings {
			w.Output = f.Name + ": " + w.Output
			all.Warnings = append(all.Warnings, w)
		}
		for _, r := range f.Routes {
			t := routes[r.Name]
			routes[r.Name] = traffic{r.Name, r.Family, t.Rate + r.Rate, t.Hits + r.Hits, t.Errors + r.Errors, t.Total + r.Total}
		}
		for _, s := range f.Sources {
			t := sources[s.Name]
			sources[s.Name] = requests{s.Name, t.Rate + s.Rate, t.Errors + s.Errors, t.Total + s.Total}
		}
		hits += f.HitRate * float64(f.Lookups)
		all.Lookups += f.Lookups
	}
	if all.Lookups > 0 {
		all.HitRate = hits / float64(all.Lookups)
	}
	all.Routes = busiest(slices.Collect(maps.Values(routes)))
	all.Sources = slices.SortedFunc(maps.Values(sources), func(a, b requests) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// combined adds the value of one node to that of other nodes, had. ok is false if there
// are no others.
func combined(how combine, had, value float64, ok bool) float64 {
	switch {
	case !ok:
		return value
	case how == highest:
		return max(had, value)
	case how == lowest:
		return min(had, value)
	}
	return had + value
}

// nullable is a figure that may be missing. Then it is NaN, and null in JSON.
type nullable float32

// MarshalJSON writes null for a missing figure, and at most three decimals.
func (n nullable) MarshalJSON() ([]byte, error) {
	if v := float64(n); !math.IsNaN(v) && !math.IsInf(v, 0) {
		return json.Marshal(math.Round(v*1000) / 1000)
	}
	return []byte("null"), nil
}

var missing = nullable(math.NaN())
