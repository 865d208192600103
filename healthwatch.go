package filewallball

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/filewallball/caddy-filewallball/handlers/health"
)

// watch runs the checks of health at intervals while its configuration runs, and emits
// changes as events of Caddy's events app.
type watch struct {
	ctx    caddy.Context
	events *caddyevents.App
	cancel context.CancelFunc
}

func newWatch(ctx caddy.Context) (*watch, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	events, ok := app.(*caddyevents.App)
	if !ok {
		return nil, fmt.Errorf("the events app is of an unexpected type, %T", app)
	}
	return &watch{ctx: ctx, events: events}, nil
}

// begin starts the checks of a monitor. It logs and emits the changes here.
func (w *watch) begin(monitor *health.Monitor) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	monitor.Logger = w.ctx.Slogger()
	monitor.Emit = func(event health.Event) { w.events.Emit(w.ctx, event.Name, event.Data) }
	go func() {
		clock := time.NewTicker(health.Interval)
		defer clock.Stop()
		monitor.Run(ctx, clock.C)
	}()
}

// end stops the checks. It does not wait for handlers of events.
func (w *watch) end() {
	if w != nil && w.cancel != nil {
		w.cancel()
	}
}
