package filewallball

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/filewallball/caddy-filewallball/handlers/health"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// watch makes the checks of health on a clock while its configuration runs, and
// emits what changes as events of Caddy's events app.
type watch struct {
	ctx    caddy.Context
	events *caddyevents.App
	cancel context.CancelFunc
	done   sync.WaitGroup
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

// begin starts the clock.
func (w *watch) begin(a *App) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	monitor := &health.Monitor{
		Cache: a.Cache(), Alert: a.policy.Alert, Alerts: a.process.Alerts(), Logger: w.ctx.Slogger(),
		Newest: func() bool {
			running, ok := lifetime.Running()
			return ok && running == lookup.App(a)
		},
		Emit: func(event health.Event) { w.events.Emit(w.ctx, event.Name, event.Data) },
	}
	w.done.Go(func() {
		clock := time.NewTicker(health.Interval)
		defer clock.Stop()
		monitor.Run(ctx, clock.C)
	})
}

// end stops the clock. A handler of an event that is under way goes on.
func (w *watch) end() {
	if w != nil && w.cancel != nil {
		w.cancel()
	}
}

// reportConflict tells the handlers of events that run that a new configuration
// is refused, because two of its lookups share keys but ask differently. It does
// not wait for them.
func reportConflict(conflict error) {
	running, ok := lifetime.Running()
	if !ok {
		return
	}
	if a, ok := running.(*App); ok && a.watch != nil {
		a.watch.done.Go(func() {
			a.watch.events.Emit(a.watch.ctx, health.ConfigConflict, map[string]any{"error": conflict.Error()})
		})
	}
}

// logStart says which cache the configuration uses.
func (a *App) logStart(logger *slog.Logger) {
	store := a.Cache().Store()
	fields := []any{slog.String("store", store.Name()), slog.String("key_prefix", a.policy.KeyPrefix)}
	if a.Redis != nil {
		fields = append(fields, slog.String("address", strings.Join(a.redis.Addresses, ",")), slog.String("client_type", a.redis.ClientType),
			slog.String("profile", a.redis.Profile))
		near := "off"
		if n := a.Cache().Near(); n.MaxBytes > 0 {
			near = fmt.Sprintf("%d bytes", n.MaxBytes)
		}
		fields = append(fields, slog.String("near_cache", near))
	}
	logger.Info("cache is in use", fields...)
}
