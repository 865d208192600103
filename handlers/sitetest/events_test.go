package sitetest_test

import (
	"context"
	"fmt"
	"net/http"
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
	caddy.RegisterModule(new(exec))
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
	remembered.names = append(remembered.names, e.Name()+" of "+string(e.Origin().CaddyModule().ID))
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

func TestCaddysEventsTellOfAnOutageOnceAcrossReloads(t *testing.T) {
	server := redistest.Start(t)
	options := "events {\non filewallball.store_down remember\non filewallball.store_up remember\n}\nfilewallball {\nredis " + server.Addr() + "\n}"
	s := sitetest.Serve(t, options, "session_lookup {header.X-Token}\nrespond hi")
	require.Equal(t, http.StatusOK, s.API(t, http.MethodGet, "health", "").Status)
	const down, up = "filewallball.store_down of filewallball", "filewallball.store_up of filewallball"
	server.Kill()
	require.Eventually(t, func() bool { return timesRemembered(down) == 1 }, 20*time.Second, 10*time.Millisecond)
	s.Load(t, options, "session_lookup {header.X-Token}\nrespond hello")
	server.Restart()
	require.Eventually(t, func() bool { return timesRemembered(up) == 1 }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, 1, timesRemembered(down))
}

var _ caddyevents.Handler = (*remember)(nil)
