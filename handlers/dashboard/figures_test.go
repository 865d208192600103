package dashboard

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func TestRatesAreWhatHappenedSinceTheLastMeasurement(t *testing.T) {
	t.Parallel()
	at := time.Now()
	before := measured{at: at, stats: wire.Stats{
		Families: map[string]cache.Counts{"session": {Hits: 100, Misses: 10}},
		Routes:   map[string]cache.RouteCounts{"files": {Family: "session", Counts: cache.Counts{TotalRequests: 110, Hits: 100}}},
		Sources:  map[string]cache.SourceCounts{"http": {Requests: 10}},
		Pool:     &cache.PoolStats{Waits: 7},
	}}
	now := measured{at: at.Add(5 * time.Second), stats: wire.Stats{
		Families: map[string]cache.Counts{"session": {Hits: 150, Misses: 5, Errors: 10}},
		Routes: map[string]cache.RouteCounts{
			"files": {Family: "session", Counts: cache.Counts{TotalRequests: 160, Hits: 150}},
			"new":   {Family: "session", Counts: cache.Counts{TotalRequests: 5}},
		},
		Sources: map[string]cache.SourceCounts{"http": {Requests: 20, Errors: 5, Coalesced: 1}},
		Near:    near.Stats{Coherent: true, Bytes: 25, MaxBytes: 100},
		Pool:    &cache.PoolStats{Waits: 12, Breaker: "half-open"},
		Redis:   &wire.RedisStats{MemoryUsedPercent: 42, ConnectedClients: 13},
	}, health: wire.Health{Status: wire.HealthWarn, Checks: map[string][]wire.HealthCheck{
		"redis:ping": {{Status: wire.HealthPass}}, "z": {{Status: wire.HealthFail, Output: "worst", Links: map[string]string{"runbook": "https://docs/z"}}}, "a": {{Status: wire.HealthWarn, Output: "bad"}},
	}}}
	f := now.since(before)
	for name, want := range map[string]float64{
		"session_hits": 10, "session_misses": 0 /* counted anew */, "session_errors": 2, "source_requests": 2, "source_errors": 1,
		"source_coalesced": 0.2, "near_fill": 25, "near_coherent": 1, "pool_waits": 1, "memory_percent": 42, "clients": 13,
	} {
		require.InDelta(t, want, f.Values[name], 1e-9, name)
	}
	require.Equal(t, []traffic{
		{Name: "files", Family: "session", Rate: 10, Hits: 10, Total: 160}, {Name: "new", Family: "session", Rate: 1, Total: 5},
	}, f.Routes)
	require.Equal(t, []warning{{"z", "fail", "worst", "https://docs/z"}, {"a", "warn", "bad", ""}}, f.Warnings)
	for name := range f.Values {
		require.Contains(t, series, name)
	}
	require.NotContains(t, measured{at: at}.since(measured{at: at}).Values, "near_coherent", "there are no near copies to trust")
}

func TestFiguresOfNodesAreCombined(t *testing.T) {
	t.Parallel()
	nodes := []figures{{
		Name: "a", Status: "pass", Breaker: "closed", HitRate: 100, Lookups: 10,
		Values: map[string]float64{"session_hits": 3, "redis_p95": 1, "near_coherent": 1},
		Routes: []traffic{{Name: "x", Family: "session", Rate: 3, Total: 30}},
	}, {
		Name: "b", Status: "warn", Breaker: "open", HitRate: 50, Lookups: 30, Warnings: []warning{{"c", "warn", "full", "https://docs/c"}},
		Values: map[string]float64{"session_hits": 4, "redis_p95": 9, "near_coherent": 0, "clients": 5},
		Routes: []traffic{{Name: "x", Family: "session", Rate: 4, Total: 40}, {Name: "y", Family: "session"}},
	}}
	all := together(nodes)
	require.Equal(t, map[string]float64{"session_hits": 7, "redis_p95": 9, "near_coherent": 0, "clients": 5}, all.Values)
	require.Equal(t, "warn", all.Status)
	require.Equal(t, "open", all.Breaker)
	require.InDelta(t, 62.5, all.HitRate, 1e-9)
	require.Equal(t, []warning{{"c", "warn", "b: full", "https://docs/c"}}, all.Warnings)
	require.Equal(t, "full", nodes[1].Warnings[0].Output, "those of the node are as they were")
	require.Equal(t, traffic{Name: "x", Family: "session", Rate: 7, Total: 70}, all.Routes[0])
}

func TestHistoryHasTheLastHour(t *testing.T) {
	t.Parallel()
	h, at := newHistory(), time.UnixMilli(1_764_000_000_000)
	const extra = 1000
	for i := range kept + extra {
		nodes := []figures{{Node: "a", Status: "pass", Values: map[string]float64{"clients": float64(i)}}}
		if i == extra+10 {
			nodes = append(nodes, figures{Node: "b", Status: "pass", Values: map[string]float64{"clients": 9999, "uploads": 2}})
		}
		h.add(at.Add(time.Duration(i)*interval), nodes)
	}
	v, _ := h.since(0, allNodes)
	require.Len(t, v.Times, kept)
	require.Len(t, v.Series["clients"], kept)
	require.EqualValues(t, extra, v.Series["clients"][0])
	require.EqualValues(t, 9999, v.Series["clients"][10], "the highest of both")
	require.EqualValues(t, extra+kept-1, v.Series["clients"][kept-1])
	require.EqualValues(t, 2, v.Series["uploads"][10])
	text, err := json.Marshal(v.Series["uploads"][9:12])
	require.NoError(t, err)
	require.JSONEq(t, `[null, 2, null]`, string(text))
	require.Len(t, v.Nodes, 2)
	require.False(t, v.Nodes[1].Current, "b has stopped to report")
	require.LessOrEqual(t, len(h.times), kept+kept/4)

	v, _ = h.since(v.Times[kept-3], "a")
	require.Len(t, v.Times, 2)
	require.Equal(t, "a", v.Latest.Node)
	v, _ = h.since(0, "b")
	require.Nil(t, v.Latest)
	v, _ = h.since(0, "nobody")
	require.Len(t, v.Times, kept, "without figures")
	require.Nil(t, v.Latest)

	for i := range kept * 2 { // until nothing of b is left
		h.add(at.Add(time.Duration(kept+extra+i)*interval), nil)
	}
	v, _ = h.since(0, allNodes)
	require.Empty(t, v.Nodes)
}

func TestNodesAreBounded(t *testing.T) {
	t.Parallel()
	h := newHistory()
	for i := range 3 {
		var nodes []figures
		for n := range 100 {
			nodes = append(nodes, figures{Node: fmt.Sprint(n + i*1000), Status: "pass"})
		}
		h.add(time.Now(), nodes)
	}
	v, _ := h.since(0, allNodes)
	require.Len(t, v.Nodes, maxNodes)
	for _, n := range v.Nodes {
		require.True(t, n.Current, "nodes that report take the place of those that do not")
	}
}
