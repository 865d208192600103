package dashboard

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/redis"
	"github.com/filewallball/caddy-filewallball/handlers/health"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// newNode is a node over a Redis, which measures when it is told to.
func newNode(t *testing.T, server *redistest.Server, prefix string, maxValueSize int) *monitor {
	t.Helper()
	options, err := redis.Options{Addresses: []string{server.Addr()}, KeyPrefix: prefix, MaxValueSize: maxValueSize}.Resolve(func(string) string { return "" })
	require.NoError(t, err)
	stats := cache.NewStats()
	store, err := redis.New(options, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	c := cache.New(store, stats)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	app := lookuptest.Over(c, lookup.Policy{
		KeyPrefix: prefix, LookupTimeout: time.Second, MaxValueSize: maxValueSize,
		Alert: lookup.Alert{HitRateBelow: 80, LatencyAbove: time.Second, MemoryAbove: 99.9, ClientsAbove: 1000},
	})
	return newMonitor(func() (lookup.App, bool) { return app, true })
}

// seen are the nodes that a node shows as current.
func (m *monitor) seen() (ids []string) {
	v, _ := m.history.since(0, allNodes)
	for _, n := range v.Nodes {
		if n.Current {
			ids = append(ids, n.Node)
		}
	}
	return ids
}

func TestNodesThatShareRedisSeeEachOther(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := newNode(t, server, "web:", 1<<20), newNode(t, server, "web:", 1<<20)
	other := newNode(t, server, "other:", 1<<20)
	ctx := t.Context()
	for _, m := range []*monitor{a, b, other, a} {
		m.measure(ctx)
	}
	require.ElementsMatch(t, []string{a.fleet.self, b.fleet.self}, a.seen())
	require.Equal(t, []string{other.fleet.self}, other.seen(), "another prefix is another fleet")
	v, _ := a.history.since(0, allNodes)
	require.Equal(t, "pass", v.Latest.Status)
	v, _ = a.history.since(0, b.fleet.self)
	require.Equal(t, b.fleet.self, v.Latest.Node)

	client := server.Client()
	require.ElementsMatch(t, []string{
		"web:fwb:nodes", "web:fwb:node:" + a.fleet.self, "web:fwb:node:" + b.fleet.self,
		"other:fwb:nodes", "other:fwb:node:" + other.fleet.self,
	}, client.Keys(ctx, "*fwb:node*").Val())
	row := "web:fwb:node:" + b.fleet.self
	require.InDelta(t, figuresTTL.Seconds(), client.TTL(ctx, row).Val().Seconds(), 5)

	// b has ended, and its figures have expired
	require.NoError(t, client.Del(ctx, row).Err())
	a.measure(ctx)
	require.Equal(t, []string{a.fleet.self}, a.seen())
	require.NotContains(t, client.Get(ctx, "web:fwb:nodes").Val(), b.fleet.self, "it is not asked for again")
	b.measure(ctx) // it was only away
	b.measure(ctx)
	a.measure(ctx)
	require.ElementsMatch(t, []string{a.fleet.self, b.fleet.self}, a.seen())
}

func TestFiguresFromRedisAreNotTrusted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := newNode(t, server, "", 1<<20)
	ctx, client := t.Context(), server.Client()
	id, broken := strings.Repeat("b", 16), strings.Repeat("c", 16)
	require.NoError(t, client.Set(ctx, "fwb:nodes", `{"nodes": ["`+id+`", "`+id+`", "`+broken+`", "short", "1234567890\u0000bcdef"]}`, 0).Err())
	require.NoError(t, client.Set(ctx, "fwb:node:"+id, `{"node": "`+a.fleet.self+`", "name": "`+strings.Repeat("n", 500)+`", "status": "pass", "values": {"clients": 1, "unknown": 2}}`, 0).Err())
	require.NoError(t, client.Set(ctx, "fwb:node:"+broken, `{"status": "excellent"}`, 0).Err())
	a.measure(ctx)
	require.ElementsMatch(t, []string{a.fleet.self, id}, a.seen())
	v, _ := a.history.since(0, id)
	require.Len(t, v.Latest.Name, maxName)
	require.NotContains(t, v.Latest.Values, "unknown")
	text, err := json.Marshal(v)
	require.NoError(t, err)
	require.NotRegexp(t, `"(routes|sources|warnings|values|nodes)":null`, string(text), "which the page could not read")

	// figures that no node can have
	huge := strings.Repeat("d", 16)
	require.NoError(t, client.Set(ctx, "fwb:nodes", `{"nodes": ["`+id+`", "`+huge+`"]}`, 0).Err())
	for _, node := range []string{id, huge} {
		require.NoError(t, client.Set(ctx, "fwb:node:"+node, `{"status": "pass", "values": {"near_hits": 1e308}, "hit_rate": -5,
			"routes": [{"name": "r", "rate": 1e308, "hits": -1}], "sources": [{"rate": 1e308}], "warnings": [{"output": "`+strings.Repeat("w", 5000)+`"}]}`, 0).Err())
	}
	a.measure(ctx)
	v, _ = a.history.since(0, allNodes)
	text, err = json.Marshal(v)
	require.NoError(t, err)
	require.Less(t, len(text), 100_000)

	require.NoError(t, client.Set(ctx, "fwb:nodes", `["no record"]`, 0).Err())
	a.measure(ctx)
	require.Contains(t, a.seen(), a.fleet.self)
	require.Contains(t, client.Get(ctx, "fwb:nodes").Val(), a.fleet.self, "the list is as it should be again")
}

func TestSmallRecordsHoldFewerRoutes(t *testing.T) {
	t.Parallel()
	f := figures{Status: "pass", Routes: make([]traffic, maxRoutes)}
	record, err := encode(f, 3000)
	require.NoError(t, err)
	other, ok := decode(record, "b")
	require.True(t, ok)
	require.NotEmpty(t, other.Routes)
	require.Less(t, len(other.Routes), maxRoutes)
	_, err = encode(f, 10)
	require.ErrorIs(t, err, cache.ErrInvalidRecord)
}

func TestNodeShowsItsOwnFiguresWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := newNode(t, server, "", 1<<20)
	a.measure(t.Context())
	server.Stop()
	require.Eventually(t, func() bool {
		a.measure(t.Context())
		v, _ := a.history.since(0, allNodes)
		return v.Latest.Status == "fail" && len(v.Latest.Warnings) > 0
	}, 10*time.Second, 50*time.Millisecond)
	require.Equal(t, []string{a.fleet.self}, a.seen())
	server.Restart()
	require.Eventually(t, func() bool {
		a.measure(t.Context())
		v, _ := a.history.since(0, allNodes)
		return v.Latest.Status != "fail"
	}, 10*time.Second, 50*time.Millisecond)
}

func TestMonitorMeasuresUntilItEnds(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	_ = ctx
	m := newMonitor(func() (lookup.App, bool) { return app, true })
	running, cancel := context.WithCancel(t.Context())
	m.cancel = cancel
	go m.run(running, time.Millisecond)
	require.Eventually(t, func() bool {
		v, _ := m.history.since(0, allNodes)
		return len(v.Times) > 3 && v.Latest.Status == "pass"
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, m.Destruct())
	require.Zero(t, app.Holders.Load())
}

// What another node writes is not to be trusted: no link of the page is its own.
func TestLinksOfOtherNodesAreMadeHere(t *testing.T) {
	t.Parallel()
	record, err := cache.Decode(`{"status": "fail", "warnings": [
		{"check": "redis:ping", "status": "fail", "output": "down", "help": "javascript:alert(1)"},
		{"check": "javascript:alert(1)", "status": "warn", "output": "x", "help": "javascript:alert(1)"}]}`, 1000)
	require.NoError(t, err)
	other, ok := decode(record, "0123456789abcdef")
	require.True(t, ok)
	require.Equal(t, health.Runbook("redis:ping"), other.Warnings[0].Help)
	require.Empty(t, other.Warnings[1].Help)
}
