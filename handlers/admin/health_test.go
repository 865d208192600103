package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func (c adminClient) health(t *testing.T) (status int, health wire.Health) {
	t.Helper()
	a := c.get(t, "health")
	require.Equal(t, "application/health+json", a.Header.Get("Content-Type"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.NoError(t, json.Unmarshal([]byte(a.Body), &health), "%s", a.Body)
	return a.Status, health
}

func TestHealthPassesWhereNothingIsWrong(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		status, health := c.health(t)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, wire.HealthPass, health.Status)
		require.Empty(t, health.Output)
		require.Contains(t, health.Checks, app.Cache().Store().Name()+":ping")
		for name, checks := range health.Checks {
			require.Len(t, checks, 1, name)
			require.Equal(t, wire.HealthPass, checks[0].Status, name)
			require.Empty(t, checks[0].Output, name)
			require.NotNil(t, checks[0].Value, name)
			require.NotEmpty(t, checks[0].Unit, name)
		}
	})
}

func TestHealthWarnsOfALowHitRateOfEnoughLookups(t *testing.T) {
	app := newMemoryApp(t)
	c := startAdmin(t, app)
	app.Put(t, "found", "{}")
	var keys []string
	for i := range 100 - 1 {
		keys = append(keys, fmt.Sprint(i))
	}
	lookups(t, app, cache.Session, nil, keys...)
	_, health := c.health(t)
	require.Equal(t, wire.HealthPass, health.Status, "a cache begins empty")

	lookups(t, app, cache.Session, nil, "found")
	status, health := c.health(t)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, wire.HealthWarn, health.Status)
	require.Equal(t, "hit rate is 1.0%, below 80%", health.Output)
	check := health.Checks["lookups:hit_rate"][0]
	require.Equal(t, wire.HealthCheck{Value: 1.0, Unit: "percent", Status: wire.HealthWarn, Output: health.Output,
		Links: map[string]string{"runbook": "https://github.com/filewallball/caddy-filewallball/blob/main/docs/operations.md#the-hit-rate-is-low"}}, check)

	app.Policy().Alert.HitRateBelow = 1
	_, health = c.health(t)
	require.Equal(t, wire.HealthPass, health.Status, "it is not below the threshold")
}

func TestHealthOfAFullEmbeddedStoreIsNoAlarm(t *testing.T) {
	app := newMemoryApp(t)
	app.Policy().Alert = lookup.Alert{}
	app.Put(t, "a", "{}")
	_, health := startAdmin(t, app).health(t)
	require.Equal(t, wire.HealthPass, health.Status)
	require.Len(t, health.Checks, 3)
}

func TestHealthWarnsOfTheFiguresOfTheServer(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "100mb")
	app := newRedisApp(t, server)
	c := startAdmin(t, app)
	app.Put(t, "a", "{}")
	for range 100 {
		require.NoError(t, app.Cache().Store().Ping(t.Context()))
		app.Put(t, "a", "{}")
	}
	generous := app.Policy().Alert
	for check, test := range map[string]struct {
		alert  func(*lookup.Alert)
		output string
	}{
		"redis:latency_p95":       {func(a *lookup.Alert) { a.LatencyAbove = time.Nanosecond }, `^95% of the round trips take up to .+s, above 1ns$`},
		"redis:memory_used":       {func(a *lookup.Alert) { a.MemoryAbove = 0.001 }, `^memory in use is \d+\.\d%, above 0\.001%$`},
		"redis:connected_clients": {func(a *lookup.Alert) { a.ClientsAbove = 0 }, `^\d+ clients are connected, above 0$`},
	} {
		app.Policy().Alert = generous
		test.alert(&app.Policy().Alert)
		status, health := c.health(t)
		require.Equal(t, http.StatusOK, status, check)
		require.Equal(t, wire.HealthWarn, health.Status, check)
		require.Regexp(t, test.output, health.Output, check)
		require.Equal(t, wire.HealthWarn, health.Checks[check][0].Status, check)
		require.Equal(t, wire.HealthPass, health.Checks["redis:ping"][0].Status, check)
	}
	app.Policy().Alert.LatencyAbove, app.Policy().Alert.ClientsAbove = time.Nanosecond, 0
	_, health := c.health(t)
	require.Contains(t, health.Output, "; ", "each reason is given")
}

func TestHealthWarnsOfNoLatencyBeforeThereIsEnoughOfIt(t *testing.T) {
	app := newRedisApp(t, redistest.Start(t))
	app.Policy().Alert.LatencyAbove = time.Nanosecond
	_, health := startAdmin(t, app).health(t)
	require.Equal(t, wire.HealthPass, health.Checks["redis:latency_p95"][0].Status, "one round trip opened a connection")
}

func TestHealthWarnsOfWhatTheServerRefuses(t *testing.T) {
	server := redistest.Start(t)
	app := newRedisApp(t, server)
	c := startAdmin(t, app)
	_, health := c.health(t)
	require.Equal(t, wire.HealthPass, health.Checks["redis:refused_writes"][0].Status)

	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.NotEqual(t, http.StatusNoContent, c.do(t, http.MethodPut, "keys/s3cret?ttl=1h", "{}").Status)
	_, health = c.health(t)
	check := health.Checks["redis:refused_writes"][0]
	require.Equal(t, wire.HealthWarn, check.Status)
	require.Positive(t, check.Value)
	require.Regexp(t, `^the server at 127.0.0.1:[0-9]+ refuses writes, the last time at .+Z: OOM `, check.Output)
	require.Equal(t, wire.HealthPass, health.Checks["redis:refused_reads"][0].Status)
	require.NotContains(t, health.Output, "s3cret")

	require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "default", "-get", "-getrange", "-mget", "-evalsha", "-eval", "-pttl").Err())
	require.NotEqual(t, http.StatusOK, c.get(t, "keys/s3cret").Status)
	_, health = c.health(t)
	require.Regexp(t, `^the server at 127.0.0.1:[0-9]+ refuses reads, the last time at .+Z: NOPERM `, health.Checks["redis:refused_reads"][0].Output)
	require.NotContains(t, health.Output, "s3cret")
}

func TestHealthWarnsOfASourceThatFails(t *testing.T) {
	app := newMemoryApp(t)
	c := startAdmin(t, app)
	fails := true
	source := sourceFunc(func(context.Context) (cache.Loaded, error) {
		if fails {
			return cache.Loaded{}, &fs.PathError{Op: "open", Path: "/s3cret", Err: errors.New("input/output error")}
		}
		return cache.Loaded{Record: cache.AbsentRecord()}, nil
	})
	lookups(t, app, cache.FileMeta, &source, "a")
	status, health := c.health(t)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, wire.HealthWarn, health.Status)
	require.Regexp(t, `^source http failed for 1 of 1 requests, the last time at .+Z: open: input/output error$`, health.Output)

	fails = false
	var keys []string
	for i := range 20 {
		keys = append(keys, fmt.Sprint(i))
	}
	lookups(t, app, cache.FileMeta, &source, keys...)
	_, health = c.health(t)
	require.Equal(t, wire.HealthPass, health.Checks["source:http"][0].Status, "less than a tenth")
}

func TestHealthWarnsOfAFileThatCannotBeSaved(t *testing.T) {
	records, err := memory.New(memory.Options{})
	require.NoError(t, err)
	store := &saving{Store: records}
	app := newMemoryApp(t)
	app.Use(t, store)
	c := startAdmin(t, app)
	_, health := c.health(t)
	require.NotContains(t, health.Checks, "memory:file", "there is none")
	store.status = memory.FileStatus{File: "records", Records: 3}
	_, health = c.health(t)
	require.Equal(t, wire.HealthCheck{Value: 3.0, Unit: "records", Status: wire.HealthPass}, health.Checks["memory:file"][0])
	store.status.Err = errors.New("no space left on device")
	_, health = c.health(t)
	require.Equal(t, wire.HealthWarn, health.Status)
	require.Equal(t, "records cannot be saved to the file of persist: no space left on device", health.Output)
}

// saving is a store with a file.
type saving struct {
	*memory.Store
	status memory.FileStatus
}

func (s *saving) FileStatus() memory.FileStatus { return s.status }

func TestHealthIsLiveWhileCaddyRuns(t *testing.T) {
	c := startAdmin(t, nil)
	live := c.get(t, "health/live")
	require.Equal(t, http.StatusOK, live.Status)
	require.JSONEq(t, `{"status": "pass"}`, live.Body)
	require.Equal(t, http.StatusServiceUnavailable, c.get(t, "health").Status)
	require.Equal(t, http.StatusOK, c.do(t, http.MethodHead, "health/live", "").Status)
	require.Equal(t, http.StatusMethodNotAllowed, c.do(t, http.MethodPost, "health/live", "").Status)
	require.Equal(t, http.StatusNotFound, c.get(t, "health/dead").Status)
}

func TestHealthWarnsWhereTheServerHidesItsNumbers(t *testing.T) {
	server := redistest.Start(t)
	require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "default", "-info").Err())
	_, health := startAdmin(t, newRedisApp(t, server)).health(t)
	require.Equal(t, wire.HealthWarn, health.Status)
	require.Equal(t, "memory and clients of the store cannot be read: NOPERM this user has no permissions to run the 'info' command", health.Output)
}

// failsInTime checks that health tells of a failure within two seconds, and
// that statistics can be read all the same.
func failsInTime(t *testing.T, c adminClient) {
	t.Helper()
	started := time.Now()
	status, health := c.health(t)
	require.Less(t, time.Since(started), 2*time.Second)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, wire.HealthFail, health.Status)
	require.Regexp(t, "^the store does not answer( since [-0-9T:]+Z)?: (.*connection refused|no answer within 1s|.*timeout.*)", health.Output)

	started = time.Now()
	stats := c.get(t, "stats")
	require.Less(t, time.Since(started), 2*time.Second)
	require.Equal(t, http.StatusOK, stats.Status)
	require.Contains(t, stats.Body, `"redis":null`)
	require.Contains(t, stats.Body, `"pool":{`)
}

func recovers(t *testing.T, c adminClient) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, health := c.health(t)
		return status == http.StatusOK && health.Status == wire.HealthPass
	}, 10*time.Second, 20*time.Millisecond)
	require.NotContains(t, c.get(t, "stats").Body, `"redis":null`)
}

func TestHealthReportsADeadServerAndItsReturn(t *testing.T) {
	server := redistest.Start(t)
	c := startAdmin(t, newRedisApp(t, server))
	recovers(t, c)
	server.Kill()
	for range 2 {
		failsInTime(t, c)
	}
	for _, request := range [][3]string{
		{"GET", "info"}, {"GET", "keys"}, {"GET", "keys/a"}, {"PUT", "keys/a?ttl=1h", "{}"}, {"DELETE", "keys/a"},
		{"POST", "purge", `{"keys": ["a"]}`}, {"POST", "purge", `{"prefix": "a"}`},
	} {
		a := c.do(t, request[0], request[1], request[2])
		require.Equal(t, http.StatusServiceUnavailable, a.Status, "%v: %s", request, a.Body)
		want := "the store is unavailable: the log says why"
		if request[0] == "DELETE" || request[1] == "purge" {
			want = "the store did not drop everything: 0 dropped, 1 pending. This node uses none of the pending records " +
				"and retries until they are dropped; the log says why"
		}
		if request[1] == "info" {
			require.Regexp(t, "^the store does not answer( since [-0-9T:]+Z)?: .*connection refused$", a.message(t), "as health says it")
			continue
		}
		require.Equal(t, want, a.message(t))
	}
	server.Restart()
	recovers(t, c)
	require.Equal(t, http.StatusNoContent, c.do(t, http.MethodPut, "keys/a?ttl=1h", "{}").Status)
}

func TestHealthReportsAServerThatHangs(t *testing.T) {
	server := redistest.Start(t)
	c := startAdmin(t, newRedisApp(t, server))
	recovers(t, c)
	server.Pause()
	for range 2 {
		failsInTime(t, c)
	}
	server.Continue()
	recovers(t, c)
}

func TestAdminRefusesAValueThatIsNoRecord(t *testing.T) {
	server := redistest.Start(t)
	c := startAdmin(t, newRedisApp(t, server))
	client := server.Client()
	require.NoError(t, client.Set(t.Context(), "text", "s3cret", time.Hour).Err())
	require.NoError(t, client.HSet(t.Context(), "hash", "field", "s3cret").Err())
	require.NoError(t, client.Set(t.Context(), "forever", "{}", 0).Err())
	for _, key := range []string{"text", "hash"} {
		a := c.get(t, "keys/"+key)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, key)
		require.Contains(t, a.message(t), "invalid record: value is not a")
		require.NotContains(t, a.Body, "s3cret")
	}
	require.EqualValues(t, -1, *c.get(t, "keys/forever").record(t).TTL)
	for _, key := range []string{"text", "hash", "forever"} {
		require.Equal(t, http.StatusNoContent, c.do(t, http.MethodDelete, "keys/"+key, "").Status, key)
	}
}
