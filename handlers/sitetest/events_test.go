package sitetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func init() {
	caddy.RegisterModule(new(remember))
	caddy.RegisterModule(new(execHandler))
}

// remember is an event handler that remembers events.
type remember struct{}

var remembered struct {
	sync.Mutex
	names []string
	data  string // of all
}

func (*remember) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.remember", New: func() caddy.Module { return new(remember) }}
}

func (*remember) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.RemainingArgs()
	return nil
}

func (*remember) Handle(_ context.Context, e caddy.Event) error {
	remembered.Lock()
	defer remembered.Unlock()
	remembered.names = append(remembered.names, e.Name())
	remembered.data += fmt.Sprintln(e.Data)
	return nil
}

func timesRemembered(name string) (n int) {
	remembered.Lock()
	defer remembered.Unlock()
	for _, other := range remembered.names {
		if other == name {
			n++
		}
	}
	return n
}

func TestAnOutageIsOneEventAcrossReloads(t *testing.T) {
	server := redistest.Start(t)
	options := "events {\non filewallball.store_down remember\non filewallball.store_up remember\n}\nfilewallball {\nredis " + server.Addr() + "\n}"
	s := sitetest.Serve(t, options, "session_lookup {header.X-Token}\nrespond hi")
	require.Equal(t, http.StatusOK, s.API(t, http.MethodGet, "health", "").Status)
	const down, up = "filewallball.store_down", "filewallball.store_up"
	server.Kill()
	require.Eventually(t, func() bool { return timesRemembered(down) == 1 }, 20*time.Second, 10*time.Millisecond)
	s.Load(t, options, "session_lookup {header.X-Token}\nrespond hello")
	server.Restart()
	require.Eventually(t, func() bool { return timesRemembered(up) == 1 }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, 1, timesRemembered(down))
}

func TestARefusedConfigurationIsAnEvent(t *testing.T) {
	options := "events {\non filewallball.config_conflict remember\n}"
	one := "session_lookup {header.X-Token} {\nsource http http://127.0.0.1:1/%s\nname %s\n}"
	s := sitetest.Serve(t, options, fmt.Sprintf(one, "a", "first"))
	adapt := func(path, name string) map[string]any {
		config, err := sitetest.Adapt(s.Config(options, fmt.Sprintf(one, path, name)))
		require.NoError(t, err)
		var parsed map[string]any
		require.NoError(t, json.Unmarshal(config, &parsed))
		return parsed
	}
	routes := func(config map[string]any) map[string]any {
		return config["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any)["srv0"].(map[string]any)
	}
	// in JSON, which is not looked at before it is loaded
	config, other := adapt("a", "first"), adapt("b", "second")
	routes(config)["routes"] = append(routes(config)["routes"].([]any), routes(other)["routes"].([]any)...)
	text, err := json.Marshal(config)
	require.NoError(t, err)
	err = caddy.Load(text, true)
	require.ErrorContains(t, err, "first")
	require.ErrorContains(t, err, "second")
	const conflict = "filewallball.config_conflict"
	require.Eventually(t, func() bool { return timesRemembered(conflict) == 1 }, 20*time.Second, 10*time.Millisecond)
	seen := func(text string) bool {
		remembered.Lock()
		defer remembered.Unlock()
		return strings.Contains(remembered.data, text)
	}
	require.True(t, seen("second"))

	// in a Caddyfile, which the running Caddy makes JSON of
	twice := s.Config(options, fmt.Sprintf(one, "a", "first")+"\n"+fmt.Sprintf(one, "c", "third"))
	answer := sitetest.Request(t, http.MethodPost, "http://"+s.Admin+"/load", twice, "Content-Type", "text/caddyfile")
	require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
	require.Contains(t, answer.Body, "third")
	require.Eventually(t, func() bool { return timesRemembered(conflict) == 2 }, 20*time.Second, 10*time.Millisecond)
	require.True(t, seen("third"))
}

var _ caddyevents.Handler = (*remember)(nil)
