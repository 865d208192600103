package sitetest_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// What operators see (metrics, stats, health, events, the log) while Redis refuses
// writes and then is away, and the source fails, has no identity and no key, and
// promlint finds nothing in the metrics. The lines of Caddy's own http.log, which
// hold requests, are not the plugin's.
func TestNothingThatOperatorsSeeHoldsAnIdentity(t *testing.T) {
	const secret = "s3cret-token"
	server := redistest.Start(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("ok") == "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintf(w, `{"user_id": "%s"}`, secret)
	}))
	t.Cleanup(app.Close)
	log := filepath.Join(t.TempDir(), "caddy.log")
	options := "events {\n"
	for _, name := range []string{"store_down", "store_up", "store_refuses_writes", "near_incoherent", "near_coherent", "alert_raised", "alert_cleared"} {
		options += "on filewallball." + name + " remember\n"
	}
	options += "}\nfilewallball {\nredis " + server.Addr() + "\n}"
	s := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	config, err := sitetest.Adapt(strings.Replace(s.Config(options, `
		session_lookup /bad {header.X-Token} {
			name bad
			key bad:{id}
			source http `+app.URL+`/
		}
		session_lookup /good {header.X-Token} {
			name good
			hash_id off
			key good:{id}
			source http `+app.URL+`/?ok=1
		}
		respond hi`), "output discard", "output file "+log+" {\nroll_disabled\n}", 1))
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() {
		require.NoError(t, caddy.Stop())
		http.DefaultClient.CloseIdleConnections()
	})
	logged := func() string {
		content, err := os.ReadFile(log)
		require.NoError(t, err)
		return string(content)
	}
	seen := func(message string) bool { return strings.Contains(logged(), message) }
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/bad", "X-Token", secret).Status)
	require.Eventually(t, func() bool { return seen("source failed") }, 10*time.Second, 10*time.Millisecond)
	before := timesRemembered("filewallball.store_refuses_writes")
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.Equal(t, http.StatusOK, s.Get(t, "/good", "X-Token", secret).Status)
	require.Eventually(t, func() bool { return seen("redis refuses writes") }, 10*time.Second, 10*time.Millisecond)
	see := func() {
		t.Helper()
		for _, endpoint := range []string{"stats", "health", "info"} {
			require.NotContains(t, s.API(t, http.MethodGet, endpoint, "").Body, secret)
		}
		exposed := sitetest.Request(t, http.MethodGet, "http://"+s.Admin+"/metrics", "").Body
		require.NotContains(t, exposed, secret)
		require.Empty(t, problems(t, exposed))
	}
	see()
	require.Eventually(t, func() bool { return timesRemembered("filewallball.store_refuses_writes") > before }, 20*time.Second, 10*time.Millisecond)
	server.Kill()
	require.Eventually(t, func() bool {
		s.Get(t, "/good", "X-Token", secret)
		return seen("redis is unreachable") && seen("health check warns")
	}, 20*time.Second, 10*time.Millisecond)
	see()
	remembered.Lock()
	require.NotContains(t, remembered.data, secret)
	remembered.Unlock()
	own := 0
	for line := range strings.Lines(logged()) {
		var fields struct{ Logger, Msg string }
		require.NoError(t, json.Unmarshal([]byte(line), &fields))
		if strings.HasPrefix(fields.Logger, "http.log.") {
			continue
		}
		own++
		require.NotContains(t, line, secret)
		if fields.Msg == "cache is in use" || fields.Msg == "health check warns" {
			require.Equal(t, "filewallball", fields.Logger, line)
		}
	}
	require.Positive(t, own)
}

// problems are what promlint says of the plugin's metrics.
func problems(t *testing.T, exposed string) (found []promlint.Problem) {
	t.Helper()
	var own strings.Builder
	for line := range strings.Lines(exposed) {
		if strings.Contains(line, "caddy_filewallball_") {
			own.WriteString(line)
		}
	}
	require.Contains(t, own.String(), "caddy_filewallball_store_errors_total")
	found, err := promlint.New(strings.NewReader(own.String())).Lint()
	require.NoError(t, err)
	return found
}

// recipe is what stands in docs/operations.md from a line to another one.
func recipe(t *testing.T, begins, ends string) string {
	t.Helper()
	content, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, rest, begun := strings.Cut(string(content), "\n"+begins+"\n")
	block, _, ended := strings.Cut(rest, "\n"+ends+"\n")
	require.True(t, begun && ended, "no recipe from %s to %s", begins, ends)
	return begins + "\n" + block + "\n" + ends + "\n"
}

func TestTheRecipeForProbesExposesHealthAlone(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	probes := "http://" + ports.Addr(t)
	config := s.Config("filewallball {\nredis "+server.Addr()+"\n}", "session_lookup {header.X-Token}\nrespond hi") + "\n" +
		strings.NewReplacer(":8081 {", probes+" {", "localhost:2019", s.Admin).Replace(recipe(t, ":8081 {", "}"))
	dir := t.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	// in a process of its own, since Caddy's proxy keeps its connections to the admin API
	process := sitetest.Caddy(t, "run", "--config", file)
	process.Env = append(process.Env, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	require.NoError(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(probes, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/healthz/live": http.StatusOK,
		"/filewallball/health": http.StatusOK, "/filewallball/health/live": http.StatusOK,
		"/": http.StatusNotFound, "/config/": http.StatusNotFound, "/metrics": http.StatusNotFound, "/stop": http.StatusNotFound,
		"/filewallball/stats": http.StatusNotFound, "/filewallball/health/": http.StatusNotFound,
		"/healthz/live/more": http.StatusNotFound, "/healthz/../config/": http.StatusNotFound,
		"/filewallball/health/../stats": http.StatusNotFound, "/filewallball/health/%2e%2e/stats": http.StatusNotFound,
	} {
		require.Equal(t, want, sitetest.Request(t, http.MethodGet, probes+path, "").Status, path)
	}
	for _, path := range []string{"/healthz", "/stop", "/filewallball/purge"} {
		require.Equal(t, http.StatusMethodNotAllowed, sitetest.Request(t, http.MethodPost, probes+path, "{}").Status, path)
	}
	server.Kill()
	require.Eventually(t, func() bool {
		return sitetest.Request(t, http.MethodGet, probes+"/healthz", "").Status == http.StatusServiceUnavailable
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, http.StatusOK, sitetest.Request(t, http.MethodGet, probes+"/healthz/live", "").Status)
}

// execHandler has the name and the arguments of the handler of the recipe, which is
// another plugin's.
type execHandler struct{ remember }

func (*execHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.exec", New: func() caddy.Module { return new(execHandler) }}
}

func TestTheRecipeForEventsIsEmitted(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	config := s.Config("filewallball {\nredis "+server.Addr()+"\n}", "session_lookup {header.X-Token}\nrespond hi")
	events := recipe(t, "        events {", "        }")
	adapted, err := sitetest.Adapt(strings.Replace(config, "persist_config off", "persist_config off\n"+events, 1))
	require.NoError(t, err)
	require.NoError(t, caddy.Load(adapted, true))
	t.Cleanup(func() {
		require.NoError(t, caddy.Stop())
		http.DefaultClient.CloseIdleConnections()
	})
	const down = "filewallball.store_down"
	before := timesRemembered(down)
	server.Kill()
	require.Eventually(t, func() bool { return timesRemembered(down) == before+1 }, 20*time.Second, 10*time.Millisecond)
}
