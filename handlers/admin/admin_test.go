package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/cache/redis"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// adminClient speaks to the admin API of a Caddy that runs in this process.
type adminClient struct{ http *http.Client }

// startAdmin runs Caddy with no more than its admin API until the test ends.
// app may be nil. Only one Caddy can run at a time.
func startAdmin(t *testing.T, app *lookuptest.App) adminClient {
	t.Helper()
	lookuptest.Provisioning.Lock()
	run(t, app)
	t.Cleanup(func() {
		defer lookuptest.Provisioning.Unlock()
		loadAdmin(t, "")
		require.NoError(t, caddy.Stop())
	})
	return reloadAdmin(t)
}

// reloadAdmin loads a configuration whose admin API listens at a socket of its
// own, because the one before it goes on accepting for a moment.
func reloadAdmin(t *testing.T) adminClient {
	t.Helper()
	listen, client := adminSocket(t)
	loadAdmin(t, listen)
	return client
}

// adminSocket is an address for an admin API, and a client of it.
func adminSocket(t *testing.T) (listen string, client adminClient) {
	t.Helper()
	// not t.TempDir: the path of a socket has to be short
	dir, err := os.MkdirTemp("", "admin")
	require.NoError(t, err)
	socket := filepath.Join(dir, "s")
	client.http = &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		client.http.CloseIdleConnections()
		_ = os.RemoveAll(dir)
	})
	return "unix/" + socket, client
}

// loadAdmin loads a configuration whose admin API listens there, or nowhere.
func loadAdmin(t *testing.T, listen string) {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"admin": map[string]any{
			"listen": listen, "disabled": listen == "", "config": map[string]any{"persist": false},
		},
		"logging": map[string]any{"logs": map[string]any{
			"default": map[string]any{"writer": map[string]any{"output": "discard"}},
		}},
	})
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
}

// adminAnswer is a response that has been read.
type adminAnswer struct {
	Status int
	Header http.Header
	Body   string
}

// message is the text of an error.
func (a adminAnswer) message(t *testing.T) string {
	t.Helper()
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	var body struct{ Error string }
	require.NoError(t, json.Unmarshal([]byte(a.Body), &body), "%s", a.Body)
	require.NotEmpty(t, body.Error)
	return body.Error
}

// do sends a request; the path is what follows /filewallball/, as it is.
func (c adminClient) do(t *testing.T, method, path, body string) adminAnswer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://caddy/filewallball/"+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := c.http.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return adminAnswer{resp.StatusCode, resp.Header, string(content)}
}

func (c adminClient) get(t *testing.T, path string) adminAnswer {
	t.Helper()
	return c.do(t, http.MethodGet, path, "")
}

// run makes an app, which may be nil, the running one until the test ends.
func run(t *testing.T, app *lookuptest.App) {
	t.Helper()
	if app == nil {
		return
	}
	process := lifetime.Join()
	process.Started(app)
	t.Cleanup(func() {
		process.Ended(app)
		process.Leave()
	})
}

// newAdminApp is an app over a store, closed when the test ends.
func newAdminApp(t *testing.T, store cache.Store, stats *cache.Stats) *lookuptest.App {
	t.Helper()
	app := lookuptest.Over(cache.New(store, stats), lookup.Policy{
		Families: cache.Families(), MaxValueSize: cache.DefaultMaxValueSize,
		Alert: lookup.Alert{HitRateBelow: 80, LatencyAbove: 10 * time.Second, MemoryAbove: 80, ClientsAbove: 1000},
	})
	t.Cleanup(func() { require.NoError(t, app.Cleanup()) })
	return app
}

func newMemoryApp(t *testing.T) *lookuptest.App {
	t.Helper()
	store, err := memory.New(memory.Options{})
	require.NoError(t, err)
	return newAdminApp(t, store, cache.NewStats())
}

func newRedisApp(t *testing.T, server *redistest.Server) *lookuptest.App {
	t.Helper()
	return newRedisAppAt(t, server.Addr())
}

// newRedisAppAt is an app over a server, or over a cluster of several.
func newRedisAppAt(t *testing.T, addrs ...string) *lookuptest.App {
	t.Helper()
	options, err := redis.Options{Addresses: addrs}.Resolve(func(string) string { return "" })
	require.NoError(t, err)
	stats := cache.NewStats()
	store, err := redis.New(options, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return newAdminApp(t, store, stats)
}

// overBothStores runs a test over the embedded store and over Redis.
func overBothStores(t *testing.T, test func(t *testing.T, app *lookuptest.App, c adminClient)) {
	t.Helper()
	for name, newApp := range map[string]func(t *testing.T) *lookuptest.App{
		"memory": newMemoryApp,
		"redis":  func(t *testing.T) *lookuptest.App { return newRedisApp(t, redistest.Start(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			app := newApp(t)
			test(t, app, startAdmin(t, app))
		})
	}
}

func TestAdminAnswers503WithoutAnApp(t *testing.T) {
	c := startAdmin(t, nil)
	for _, request := range [][3]string{
		{"GET", "stats"}, {"GET", "info"}, {"GET", "keys"}, {"GET", "keys/a"},
		{"PUT", "keys/a?ttl=1h", "{}"}, {"DELETE", "keys/a"}, {"POST", "get", `{"key":"a"}`}, {"POST", "delete", `{"key":"a"}`}, {"POST", "set"}, {"POST", "purge", `{"keys":["a"]}`},
		{"POST", "warm", `{"route":"a"}`}, {"GET", "backup"}, {"POST", "restore"}, {"POST", "bench"},
	} {
		a := c.do(t, request[0], request[1], request[2])
		require.Equal(t, http.StatusServiceUnavailable, a.Status, "%v", request)
		require.Equal(t, "no configuration uses filewallball", a.message(t))
	}
	health := c.get(t, "health")
	require.Equal(t, http.StatusServiceUnavailable, health.Status)
	require.JSONEq(t, `{"status": "fail", "output": "no configuration uses filewallball"}`, health.Body)
}

func TestAdminFindsTheAppThatStartsLater(t *testing.T) {
	c := startAdmin(t, nil)
	require.Equal(t, http.StatusServiceUnavailable, c.get(t, "stats").Status)
	run(t, newMemoryApp(t))
	require.Equal(t, http.StatusOK, c.get(t, "stats").Status)
}

func TestAdminRefusesWrongMethodsAndNamesTheRightOnes(t *testing.T) {
	app := newMemoryApp(t)
	app.Put(t, "a", "{}")
	c := startAdmin(t, app)
	for path, allowed := range map[string]string{
		"stats": "GET, HEAD", "health": "GET, HEAD", "info": "GET, HEAD", "keys": "GET, HEAD",
		"keys/a": "DELETE, GET, HEAD, PUT", "get": "POST", "set": "POST", "delete": "POST", "purge": "POST",
		"warm": "POST", "backup": "GET", "restore": "POST", "bench": "POST",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
			a := c.do(t, method, path, "")
			if strings.Contains(allowed, method) {
				require.NotEqual(t, http.StatusMethodNotAllowed, a.Status, "%s %s", method, path)
				continue
			}
			require.Equal(t, http.StatusMethodNotAllowed, a.Status, "%s %s", method, path)
			require.Equal(t, allowed, a.Header.Get("Allow"), "%s %s", method, path)
			if method != http.MethodHead {
				require.Equal(t, "method not allowed: want "+allowed, a.message(t))
			}
		}
	}
}

func TestAdminNamesTheEndpointsThereAre(t *testing.T) {
	c := startAdmin(t, newMemoryApp(t))
	for _, path := range []string{"", "stat", "stats/", "flush", "keys%2Fa"} {
		a := c.get(t, path)
		require.Equal(t, http.StatusNotFound, a.Status, path)
		require.Contains(t, a.message(t), "want stats, health, health/live, info, keys, keys/{key}, get, set, delete, purge, warm, backup, restore or bench")
	}
}

func TestAdminHeadHasNoBody(t *testing.T) {
	app := newMemoryApp(t)
	app.Put(t, "a", "{}")
	c := startAdmin(t, app)
	for path, status := range map[string]int{
		"stats": 200, "health": 200, "info": 200, "keys": 200, "keys/a": 200, "keys/b": 404,
	} {
		get, head := c.get(t, path), c.do(t, http.MethodHead, path, "")
		require.Equal(t, status, head.Status, path)
		require.Equal(t, status, get.Status, path)
		require.Empty(t, head.Body)
		require.Equal(t, get.Header.Get("Content-Type"), head.Header.Get("Content-Type"))
	}
}

func TestAdminSurvivesReloads(t *testing.T) {
	app := newMemoryApp(t)
	app.Put(t, "a", "{}")
	startAdmin(t, app)
	for range 3 {
		// Caddy makes the module and its patterns anew for each configuration
		require.Equal(t, http.StatusOK, reloadAdmin(t).get(t, "keys/a").Status)
	}
}
