package dashboard

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/handlers/admin"
	"github.com/filewallball/caddy-filewallball/handlers/health"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/version"
)

// monitors has the monitor of this process while a configuration has a
// dashboard, so that a reload keeps its history.
var monitors = caddy.NewUsagePool()

const monitorKey = "monitor"

// measureTimeout bounds one measurement, including its calls to the store.
const measureTimeout = 3 * time.Second

// monitor measures this node, and exchanges figures with the others.
type monitor struct {
	history *history
	fleet   fleet
	name    string // of the host
	started time.Time
	before  *measured
	running func() (lookup.App, bool)
	cancel  context.CancelFunc
	ended   chan struct{}
}

// acquireMonitor returns the monitor of this process, and starts it where there
// is none. It must be followed by releaseMonitor.
func acquireMonitor() *monitor {
	v, _, _ := monitors.LoadOrNew(monitorKey, func() (caddy.Destructor, error) {
		m := newMonitor(lifetime.Running)
		ctx, cancel := context.WithCancel(context.Background())
		m.cancel = cancel
		go m.run(ctx, interval)
		return m, nil
	})
	return v.(*monitor)
}

func releaseMonitor() { _, _ = monitors.Delete(monitorKey) }

func newMonitor(running func() (lookup.App, bool)) *monitor {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	return &monitor{
		history: newHistory(), fleet: fleet{self: hex.EncodeToString(id)},
		name: name, started: time.Now(), running: running, ended: make(chan struct{}),
	}
}

// Destruct ends the monitor with the last configuration that has a dashboard.
func (m *monitor) Destruct() error {
	m.cancel()
	<-m.ended
	return nil
}

func (m *monitor) run(ctx context.Context, every time.Duration) {
	defer close(m.ended)
	m.measure(ctx)
	clock := time.NewTicker(every)
	defer clock.Stop()
	for {
		select {
		case <-clock.C:
			m.measure(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// measure adds the current figures to the history, if a configuration runs.
func (m *monitor) measure(ctx context.Context) {
	app, ok := m.running()
	if !ok {
		return
	}
	defer app.Hold()()
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	checking, checked := context.WithTimeout(ctx, health.Timeout)
	report := health.Of(checking, app.Cache(), app.Policy().Alert, app.Lookups())
	checked()
	now := measured{
		at: time.Now(), stats: admin.StatsOf(ctx, app.Cache()),
		health: report,
	}
	if m.before == nil {
		m.before = &now
	}
	own := now.since(*m.before)
	own.Node, own.Name, own.Version, own.Started = m.fleet.self, m.name, version.String(), m.started
	m.before = &now
	m.history.add(now.at, m.fleet.exchange(ctx, app, own))
}
