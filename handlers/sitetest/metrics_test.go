package sitetest_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// series reads Caddy's metrics that are of this plugin.
func series(t *testing.T, url string) map[string]float64 {
	t.Helper()
	a := sitetest.Request(t, http.MethodGet, url, "")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	found := make(map[string]float64)
	for line := range strings.Lines(a.Body) {
		if !strings.HasPrefix(line, "caddy_filewallball_") {
			continue
		}
		end := strings.LastIndex(line, " ")
		value, err := strconv.ParseFloat(strings.TrimSpace(line[end:]), 64)
		require.NoError(t, err)
		require.NotContains(t, found, line[:end])
		found[line[:end]] = value
	}
	return found
}

const (
	memberHits   = `caddy_filewallball_lookups_total{family="session",result="hit",route="members"}`
	memberMisses = `caddy_filewallball_lookups_total{family="session",result="miss",route="members"}`
)

func TestCaddysMetricsHaveThoseOfLookupsAcrossReloads(t *testing.T) {
	server := redistest.Start(t)
	require.NoError(t, server.Client().Set(t.Context(), "session:user:anna", "{}", 0).Err())
	require.NoError(t, server.Client().Set(t.Context(), "other:session:user:anna", "{}", 0).Err())
	option := func(more string) string {
		return "filesystem fast lookup_cache\nfilewallball {\nredis " + server.Addr() + "\n" + more + "\n}"
	}
	const site = `
		metrics /metrics
		route /files/* {
			file_server {
				fs fast
			}
		}
		session_lookup /members {header.X-Token} {
			name members
		}
		respond /members hi`
	s := sitetest.Serve(t, option(""), site)
	visit := func(n int, token string) {
		t.Helper()
		for range n {
			s.Get(t, "/members", "X-Token", token)
		}
	}
	bothAre := func(hits, misses float64) {
		t.Helper()
		for _, url := range []string{"http://" + s.Admin + "/metrics", "http://" + s.Page + "/metrics"} {
			found := series(t, url)
			require.Equal(t, hits, found[memberHits], url)
			require.Equal(t, misses, found[memberMisses], url)
			require.Equal(t, hits+misses, found[`caddy_filewallball_lookup_duration_seconds_count{family="session"}`])
			require.Contains(t, found, "caddy_filewallball_filesystem_entries")
			require.Contains(t, found, "caddy_filewallball_redis_up")
		}
	}
	start := series(t, "http://"+s.Admin+"/metrics")
	require.Zero(t, start[memberHits])
	visit(5, "anna")
	visit(2, "nobody")
	bothAre(5, 2)

	s.Load(t, option(""), site+"\nrespond /other hi")
	visit(1, "anna")
	bothAre(6, 2)

	s.Load(t, option("key_prefix other:"), site) // another store
	visit(1, "anna")
	bothAre(7, 2)

	config, err := sitetest.Adapt(s.Config(option(`ttl unknown 1h`), site))
	if err == nil {
		err = caddy.Load(config, true)
	}
	require.Error(t, err, "a configuration that does not load changes nothing")
	visit(1, "nobody")
	bothAre(7, 3)
}

func TestMetricsUnderLoadAgreeWithStats(t *testing.T) {
	server := redistest.Start(t)
	require.NoError(t, server.Client().Set(t.Context(), "session:user:anna", "{}", 0).Err())
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "session_lookup {header.X-Token} {\nname members\n}\nrespond hi")
	before := series(t, "http://"+s.Admin+"/metrics")
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for i := range 100 {
				s.Get(t, "/", "X-Token", []string{"anna", "nobody"}[i%2])
			}
		})
	}
	for range 20 {
		found := series(t, "http://"+s.Admin+"/metrics")
		require.GreaterOrEqual(t, found[memberHits], before[memberHits])
		before = found
	}
	load.Wait()
	found, route := series(t, "http://"+s.Admin+"/metrics"), s.Stats(t).Routes["members"]
	require.EqualValues(t, route.Hits, found[memberHits])
	require.EqualValues(t, route.Misses, found[memberMisses])
	require.EqualValues(t, 400, route.Hits+route.Misses)
}

// Without a global option and without the admin API there are metrics, too.
func TestMetricsNeedNoConfiguration(t *testing.T) {
	s := sitetest.Serve(t, "", "metrics /metrics\nsession_lookup /members {header.X-Token} {\nname members\n}\nrespond /members hi")
	s.Get(t, "/members", "X-Token", "nobody")
	found := series(t, "http://"+s.Page+"/metrics")
	require.NotZero(t, found[memberMisses], "%v", found)
	require.NotContains(t, found, "caddy_filewallball_redis_up", "there is no Redis")
	require.NotContains(t, found, "caddy_filewallball_near_coherent", "there are no near copies")
}
