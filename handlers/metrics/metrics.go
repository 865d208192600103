// Package metrics is the collector of Prometheus metrics. It reads the counters of the cache,
// so that metrics cost lookups nothing, and so that counters go on when a new configuration
// has a new registry.
package metrics

import (
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/version"
)

const namespace = "caddy_filewallball_"

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

var (
	lookups        = desc("lookups_total", "Lookups by what they came to. The results hit, absent, denied and stale were answered by a cache.", "family", "route", "result")
	lookupDuration = desc("lookup_duration_seconds", "Durations of lookups. Those that this process answers from memory are not timed and are in the lowest bucket.", "family")

	sourceRequests  = desc("source_requests_total", "Requests to sources by what they came to.", "source", "outcome")
	sourceErrors    = desc("source_errors_total", "Requests to sources that failed, by reason.", "source", "reason")
	sourceCoalesced = desc("source_coalesced_total", "Lookups that were answered by the source request of another lookup.", "source")
	sourceDuration  = desc("source_duration_seconds", "Durations of requests to sources.")

	storeErrors  = desc("store_errors_total", "Round trips to the shared store that failed, by operation and reason.", "op", "reason")
	storeFailing = desc("store_failing", "Whether reads or writes of the shared store fail now.", "op")

	nearEntries       = desc("near_entries", "Records of which this process keeps a copy.")
	nearBytes         = desc("near_bytes", "Size of the copies in this process.")
	nearMaxBytes      = desc("near_max_bytes", "Configured limit of the size of the copies in this process.")
	nearHits          = desc("near_hits_total", "Lookups that a copy in this process answered.")
	nearEvictions     = desc("near_evictions_total", "Copies that were dropped to make room.")
	nearInvalidations = desc("near_invalidations_total", "Copies that were dropped because Redis reported a write, or this process wrote.")
	nearCoherent      = desc("near_coherent", "Whether Redis reports writes, so that copies are used.")

	poolMax         = desc("redis_pool_max_connections", "Configured limit of connections, of each node.")
	poolConnections = desc("redis_pool_connections", "Connections to Redis.")
	poolIdle        = desc("redis_pool_idle_connections", "Connections to Redis that are not in use.")
	poolHits        = desc("redis_pool_hits_total", "Round trips that found an idle connection.")
	poolMisses      = desc("redis_pool_misses_total", "Round trips that found no idle connection.")
	poolTimeouts    = desc("redis_pool_timeouts_total", "Round trips that waited for a connection in vain.")
	poolWait        = desc("redis_pool_wait_seconds_total", "Time that round trips have waited for a connection.")
	redisUp         = desc("redis_up", "Whether Redis answered when it was last asked.")
	redisDuration   = desc("redis_duration_seconds", "Durations of round trips to Redis.")
	breakerState    = desc("breaker_state", "The worst circuit breaker of all nodes: 0 is closed, 1 half-open, 2 open.")

	pending = desc("invalidations_pending", "Invalidations that the store has not carried out yet.")

	uploadsActive   = desc("uploads_active", "Uploads under way whose progress is published.")
	uploadsEnded    = desc("uploads_total", "Uploads that have ended, by result.", "result")
	uploadListeners = desc("upload_listeners", "Clients that listen to the progress of an upload.")

	persistSuccess = desc("persist_last_success_timestamp_seconds", "When the embedded store was last saved to its file.")
	persistFailing = desc("persist_failing", "Whether the embedded store cannot be saved to its file.")

	buildInfo = desc("build_info", "The version of the plugin; the value is 1.", "version", "goversion")
)

var descs = []*prometheus.Desc{
	lookups, lookupDuration, sourceRequests, sourceErrors, sourceCoalesced, sourceDuration, storeErrors, storeFailing,
	nearEntries, nearBytes, nearMaxBytes, nearHits, nearEvictions, nearInvalidations, nearCoherent,
	poolMax, poolConnections, poolIdle, poolHits, poolMisses, poolTimeouts, poolWait, redisUp, redisDuration, breakerState,
	serverMemory, serverClients, pending, uploadsActive, uploadsEnded, uploadListeners, persistSuccess, persistFailing, buildInfo,
}

// Register registers a collector with the registry of a configuration, which is nil if it
// has none. A collector that is already registered stays.
func Register(registry *prometheus.Registry, c prometheus.Collector) error {
	if registry == nil {
		return nil
	}
	var registered prometheus.AlreadyRegisteredError
	if err := registry.Register(c); err != nil && !errors.As(err, &registered) {
		return err
	}
	return nil
}

// Collector reads the counters of a cache.
type Collector struct{ cache *cache.Cache }

// New returns a collector over a cache.
func New(c *cache.Cache) *Collector { return &Collector{c} }

// Describe implements [prometheus.Collector].
func (*Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := sink{ch}
	stats := c.cache.Stats()
	snap := stats.Snapshot()
	s.lookups(&snap)
	s.sources(&snap)
	if stats.SourceLatency.Count() > 0 || len(snap.Sources) > 0 {
		s.durations(sourceDuration, stats.SourceLatency.All())
	}
	s.near(c.cache)
	s.redis(c.cache)
	s.server(c.cache.Store())
	s.gauge(pending, float64(c.cache.Pending().Total()))
	s.uploads(stats.Uploads.Counts())
	s.persist(c.cache.Store())
	s.gauge(buildInfo, 1, version.String(), runtime.Version())
}

// sink sends metrics to Prometheus.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (s sink) counter(d *prometheus.Desc, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
}

// durations sends a histogram, with the traces of its exemplars.
func (s sink) durations(d *prometheus.Desc, counts cache.DurationCounts, labels ...string) {
	cumulative := make(map[float64]uint64, len(counts.Bounds))
	total := uint64(0)
	for i, bound := range counts.Bounds {
		total += counts.Buckets[i]
		cumulative[bound.Seconds()] = total
	}
	m := prometheus.MustNewConstHistogram(d, counts.Count(), counts.Sum.Seconds(), cumulative, labels...)
	var exemplars []prometheus.Exemplar
	for _, e := range counts.Exemplars {
		if e != nil {
			exemplars = append(exemplars, prometheus.Exemplar{
				Value: e.Value.Seconds(), Timestamp: e.At, Labels: prometheus.Labels{"trace_id": e.TraceID},
			})
		}
	}
	if len(exemplars) > 0 {
		m = prometheus.MustNewMetricWithExemplars(m, exemplars...)
	}
	s.ch <- m
}

// oneIf is 1 for true and 0 for false.
func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

// label makes a text valid UTF-8, as labels must be: a configuration may give routes any
// name.
func label(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func (s sink) lookups(snap *cache.Snapshot) {
	for name, route := range snap.Routes {
		n := route.Results
		for result, count := range map[string]uint64{
			"hit": n[cache.ResultHit], "absent": n[cache.ResultAbsent], "denied": n[cache.ResultDenied], "stale": n[cache.ResultStale],
			"miss":  n[cache.ResultMiss] + n[cache.ResultMissAbsent] + n[cache.ResultMissDenied],
			"error": n[cache.ResultError],
		} {
			s.counter(lookups, float64(count), label(route.Family), label(name), result)
		}
	}
	for family, durations := range snap.Durations {
		if family != cache.UploadProgress || durations.Count() > 0 {
			s.durations(lookupDuration, durations, label(family))
		}
	}
}

var sourceOutcomes = map[cache.SourceOutcome]string{
	cache.SourceFound: "found", cache.SourceAbsent: "absent", cache.SourceDenied: "denied",
	cache.SourceResponse: "response", cache.SourceFailed: "error", cache.SourceLeft: "canceled",
}

func (s sink) sources(snap *cache.Snapshot) {
	for name, n := range snap.Sources {
		name = label(name)
		for outcome, text := range sourceOutcomes {
			s.counter(sourceRequests, float64(n.Outcomes[outcome]), name, text)
		}
		for reason, failed := range n.Failures {
			s.counter(sourceErrors, float64(failed), name, cache.SourceFailure(reason).String())
		}
		s.counter(sourceCoalesced, float64(n.Coalesced), name)
	}
}

func (s sink) near(c *cache.Cache) {
	n := c.Near()
	if n.MaxBytes == 0 {
		return // there are no copies
	}
	s.gauge(nearEntries, float64(n.Entries))
	s.gauge(nearBytes, float64(n.Bytes))
	s.gauge(nearMaxBytes, float64(n.MaxBytes))
	s.counter(nearHits, float64(n.Hits))
	s.counter(nearEvictions, float64(n.Evictions))
	s.counter(nearInvalidations, float64(n.Invalidations))
	s.gauge(nearCoherent, oneIf(n.Coherent))
}

var breakerStates = map[string]float64{"closed": 0, "half-open": 1, "open": 2}

func (s sink) redis(c *cache.Cache) {
	store, stats := c.Store(), c.Stats()
	pool := store.Pool()
	if pool == nil {
		return // the store is this process's memory
	}
	s.gauge(poolMax, float64(pool.Size))
	s.gauge(poolConnections, float64(pool.Total))
	s.gauge(poolIdle, float64(pool.Idle))
	s.counter(poolHits, float64(pool.Hits))
	s.counter(poolMisses, float64(pool.Misses))
	s.counter(poolTimeouts, float64(pool.Timeouts))
	s.counter(poolWait, pool.WaitSeconds)
	s.gauge(breakerState, breakerStates[pool.Breaker])
	s.durations(redisDuration, stats.StoreLatency.All())
	if up, ok := store.(interface{ Up() bool }); ok {
		s.gauge(redisUp, oneIf(up.Up()))
	}
	errors := stats.StoreErrors.Counts()
	for failure, n := range errors.ByReason {
		s.counter(storeErrors, float64(n), failure.Op.String(), failure.Reason)
	}
	for op, state := range errors.States {
		s.gauge(storeFailing, oneIf(state.Failing), cache.StoreOp(op).String())
	}
}

func (s sink) uploads(n cache.UploadCounts) {
	s.gauge(uploadsActive, float64(n.Active))
	s.counter(uploadsEnded, float64(n.Completed), "completed")
	s.counter(uploadsEnded, float64(n.Failed), "failed")
	s.gauge(uploadListeners, float64(n.Listeners))
}

func (s sink) persist(store cache.Store) {
	saver, ok := store.(interface{ FileStatus() memory.FileStatus })
	if !ok {
		return
	}
	status := saver.FileStatus()
	if status.File == "" {
		return
	}
	s.gauge(persistFailing, oneIf(status.Err != nil))
	if !status.Saved.IsZero() {
		s.gauge(persistSuccess, float64(status.Saved.UnixNano())/float64(time.Second))
	}
}
