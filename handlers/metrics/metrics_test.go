package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/cache/redis"
)

// scrape reads the series of the collectors as a new configuration's registry,
// which is pedantic like Caddy's, shows them.
func scrape(t testing.TB, collectors ...prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		require.NoError(t, Register(registry, c))
		require.NoError(t, Register(registry, c), "a collector that is there stays")
	}
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).
		ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code, answer.Body.String())
	series := make(map[string]float64)
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.LastIndex(line, " ")
		value, err := strconv.ParseFloat(strings.TrimSpace(line[end:]), 64)
		require.NoError(t, err, line)
		require.NotContains(t, series, line[:end])
		series[line[:end]] = value
	}
	return series
}

// namesOf are the names and labels of series, each once, without the parts of
// histograms and the values of labels.
func namesOf(series map[string]float64) []string {
	names := make(map[string]bool)
	value := regexp.MustCompile(`="[^"]*"`)
	for name := range series {
		name = value.ReplaceAllString(name, "")
		name = strings.Replace(name, ",le", "", 1)
		name = strings.Replace(name, "{le}", "", 1)
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			name = strings.Replace(name, "duration_seconds"+part, "duration_seconds", 1)
		}
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// source answers by identity.
type source struct{}

func (*source) Name() string { return "http" }

func (*source) Load(_ context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
	switch req.ID[0] {
	case 'a':
		return cache.Loaded{Record: cache.AbsentRecord()}, nil
	case 'd':
		return cache.Loaded{Record: cache.DeniedRecord(403)}, nil
	case 'e':
		return cache.Loaded{}, errors.New("status 500")
	case 't':
		return cache.Loaded{}, context.DeadlineExceeded
	}
	record, err := cache.Decode(`{"name":"x"}`, cache.DefaultMaxValueSize)
	return cache.Loaded{Record: record}, err
}

func newLookup(t testing.TB, c *cache.Cache, name string) *cache.Lookup {
	t.Helper()
	l, err := c.NewLookup(cache.LookupOptions{
		Name: name, Family: cache.FileMeta, TTL: time.Hour, NegativeTTL: time.Hour, Source: new(source), KeyPrefix: "k:",
	})
	require.NoError(t, err)
	return l
}

func newMemory(t testing.TB, stats *cache.Stats) *cache.Cache {
	t.Helper()
	store, err := memory.New(memory.Options{})
	require.NoError(t, err)
	c := cache.New(store, stats)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func newRedis(t testing.TB, stats *cache.Stats) (*cache.Cache, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	store, err := redis.New(redis.Options{Addresses: []string{server.Addr()}, MaxRetries: -1}, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	c := cache.New(store, stats)
	c.EnableNear(near.Options{})
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, server
}

func find(t testing.TB, l *cache.Lookup, ids ...string) {
	t.Helper()
	for _, id := range ids {
		l.Find(t.Context(), cache.Request{Key: "k:" + id, ID: id})
	}
}

// results are the series of lookups.
func results(series map[string]float64, route string) map[string]float64 {
	n := make(map[string]float64)
	for name, value := range series {
		if strings.HasPrefix(name, "caddy_filewallball_lookups_total{") && strings.Contains(name, `route="`+route+`"`) {
			_, rest, _ := strings.Cut(name, `result="`)
			result, _, _ := strings.Cut(rest, `"`)
			n[result] = value
		}
	}
	return n
}

func TestEachLookupIsInOneSeries(t *testing.T) {
	t.Parallel()
	c := newMemory(t, cache.NewStats())
	find(t, newLookup(t, c, "files"), "f", "f", "f", "a", "a", "d", "d", "d", "e", "t")
	series := scrape(t, New(c))
	require.Equal(t, map[string]float64{"hit": 2, "absent": 1, "denied": 2, "stale": 0, "miss": 3, "error": 2}, results(series, "files"))
	require.EqualValues(t, 10, series[`caddy_filewallball_lookup_duration_seconds_count{family="file_meta"}`])
	require.GreaterOrEqual(t, series[`caddy_filewallball_lookup_duration_seconds_bucket{family="file_meta",le="1e-05"}`], 5.0)
	for outcome, n := range map[string]float64{"found": 1, "absent": 1, "denied": 1, "response": 0, "error": 2, "canceled": 0} {
		require.Equal(t, n, series[`caddy_filewallball_source_requests_total{outcome="`+outcome+`",source="http"}`], outcome)
	}
	require.EqualValues(t, 1, series[`caddy_filewallball_source_errors_total{reason="timeout",source="http"}`])
	require.EqualValues(t, 1, series[`caddy_filewallball_source_errors_total{reason="other",source="http"}`])
	require.EqualValues(t, 5, series["caddy_filewallball_source_duration_seconds_count"])
}

// metricNames are all there are, with their labels.
var metricNames = []string{
	"caddy_filewallball_breaker_state",
	"caddy_filewallball_build_info{goversion,version}",
	"caddy_filewallball_filesystem_bytes",
	"caddy_filewallball_filesystem_entries",
	"caddy_filewallball_filesystem_lookups_total{result}",
	"caddy_filewallball_filesystem_open_files",
	"caddy_filewallball_invalidations_pending",
	"caddy_filewallball_lookup_duration_seconds{family}",
	"caddy_filewallball_lookups_total{family,result,route}",
	"caddy_filewallball_near_bytes",
	"caddy_filewallball_near_coherent",
	"caddy_filewallball_near_entries",
	"caddy_filewallball_near_evictions_total",
	"caddy_filewallball_near_hits_total",
	"caddy_filewallball_near_invalidations_total",
	"caddy_filewallball_near_max_bytes",
	"caddy_filewallball_redis_connected_clients",
	"caddy_filewallball_redis_duration_seconds",
	"caddy_filewallball_redis_memory_used_percent",
	"caddy_filewallball_redis_pool_connections",
	"caddy_filewallball_redis_pool_hits_total",
	"caddy_filewallball_redis_pool_idle_connections",
	"caddy_filewallball_redis_pool_max_connections",
	"caddy_filewallball_redis_pool_misses_total",
	"caddy_filewallball_redis_pool_timeouts_total",
	"caddy_filewallball_redis_pool_wait_seconds_total",
	"caddy_filewallball_redis_up",
	"caddy_filewallball_source_coalesced_total{source}",
	"caddy_filewallball_source_duration_seconds",
	"caddy_filewallball_source_errors_total{reason,source}",
	"caddy_filewallball_source_requests_total{outcome,source}",
	"caddy_filewallball_store_errors_total{op,reason}",
	"caddy_filewallball_store_failing{op}",
	"caddy_filewallball_upload_listeners",
	"caddy_filewallball_uploads_active",
	"caddy_filewallball_uploads_total{result}",
}

func TestTheNamesOfMetrics(t *testing.T) {
	t.Parallel()
	stats := cache.NewStats()
	c, server := newRedis(t, stats)
	l := newLookup(t, c, "files")
	require.Eventually(t, func() bool { return c.Near().Coherent }, 10*time.Second, time.Millisecond)
	find(t, l, "f", "f", "a", "e")
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
	find(t, l, "g")
	series := scrape(t, New(c), NewFileSystem(&stats.FileSystem))
	require.Equal(t, metricNames, namesOf(series))
	require.EqualValues(t, 1, series["caddy_filewallball_near_coherent"])
	require.EqualValues(t, 1, series["caddy_filewallball_redis_up"])
	require.EqualValues(t, 0, series["caddy_filewallball_breaker_state"])
	require.EqualValues(t, 1, series[`caddy_filewallball_store_failing{op="write"}`])
	require.NotZero(t, series[`caddy_filewallball_store_errors_total{op="write",reason="oom"}`])
	for name := range series {
		require.NotContains(t, name, "k:", "no label has a key")
	}

	server.Kill()
	require.Eventually(t, func() bool {
		find(t, l, "h", "i", "j", "k")
		series := scrape(t, New(c))
		return series["caddy_filewallball_redis_up"] == 0 && series["caddy_filewallball_breaker_state"] > 0 && series["caddy_filewallball_near_coherent"] == 0
	}, 10*time.Second, 10*time.Millisecond)
}

func TestTheMetricsOfAFile(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/records"
	store, err := memory.New(memory.Options{File: file, SaveInterval: time.Second})
	require.NoError(t, err)
	c := cache.New(store, cache.NewStats())
	defer c.Close()
	require.NoError(t, store.Ping(t.Context()))
	require.NoError(t, c.Set(t.Context(), "k", cache.AbsentRecord(), time.Hour))
	require.Eventually(t, func() bool {
		series := scrape(t, New(c))
		saved := time.Unix(int64(series["caddy_filewallball_persist_last_success_timestamp_seconds"]), 0)
		return time.Since(saved) < time.Minute && series["caddy_filewallball_persist_failing"] == 0
	}, 10*time.Second, 10*time.Millisecond)
}

func TestCountersGoOnUnderLoadAndAddUp(t *testing.T) {
	t.Parallel()
	stats := cache.NewStats()
	c := newMemory(t, stats)
	var load sync.WaitGroup
	for worker := range 4 {
		load.Go(func() {
			l := newLookup(t, c, fmt.Sprint("route", worker%2))
			for i := range 2000 {
				find(t, l, fmt.Sprintf("%c%d", "fade"[i%4], i%50))
			}
		})
	}
	done := make(chan struct{})
	go func() { load.Wait(); close(done) }()
	last := make(map[string]float64)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		series := scrape(t, New(c)) // as after a reload: a new registry each time
		for name, value := range series {
			if strings.Contains(name, "_total") || strings.Contains(name, "_count") {
				require.GreaterOrEqual(t, value, last[name], name)
			}
		}
		last = series
	}
	snap := stats.Snapshot()
	require.EqualValues(t, 8000, snap.All.TotalRequests)
	total := 0.0
	for name, route := range snap.Routes {
		n := results(last, name)
		require.EqualValues(t, route.Hits, n["hit"]+n["absent"]+n["denied"]+n["stale"])
		require.EqualValues(t, route.Misses, n["miss"]+n["error"])
		require.EqualValues(t, route.Errors, n["error"])
		for _, count := range n {
			total += count
		}
	}
	require.EqualValues(t, snap.All.TotalRequests, total)
	require.EqualValues(t, snap.All.TotalRequests, last[`caddy_filewallball_lookup_duration_seconds_count{family="file_meta"}`])
	require.EqualValues(t, snap.Sources["http"].Requests, last["caddy_filewallball_source_duration_seconds_count"])
}

func TestDurationsOfSampledTracesAreExemplars(t *testing.T) {
	t.Parallel()
	c := newMemory(t, cache.NewStats())
	id := trace.TraceID{1, 2, 3}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled,
	}))
	newLookup(t, c, "files").Find(ctx, cache.Request{Key: "k:f", ID: "f"})
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, Register(registry, New(c)))
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(answer, r)
	for _, name := range []string{"lookup_duration_seconds", "source_duration_seconds"} {
		require.Regexp(t, namespace+name+`_bucket\{[^}]+\} \d+ # \{trace_id="`+id.String()+`"\}`, answer.Body.String())
	}
}

func TestNamesOfRoutesAreLabelsWhateverTheyAre(t *testing.T) {
	t.Parallel()
	c := newMemory(t, cache.NewStats())
	find(t, newLookup(t, c, "a\xff\"b\n"), "f")
	require.NotEmpty(t, scrape(t, New(c)))
	require.NoError(t, Register(nil, New(c)), "where there is no registry, there are no metrics")
}
