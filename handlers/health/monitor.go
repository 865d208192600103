package health

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// Interval is the time between two checks of a [Monitor].
const Interval = 5 * time.Second

// Monitor makes the checks at an interval, independently of requests for
// health.
type Monitor struct {
	Cache   *cache.Cache
	Lookups *lookup.Lookups
	Alert   lookup.Alert
	Alerts  *Alerts
	Logger  *slog.Logger
	// Newest reports whether the monitor belongs to the newest configuration.
	// Only that monitor logs and emits events.
	Newest func() bool
	// Emit is called with each change. It may block.
	Emit func(Event)
}

// Run makes the checks at each tick until ctx ends.
func (m *Monitor) Run(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		if !m.Newest() {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, Timeout)
		report := Of(bounded, m.Cache, m.Alert, m.Lookups)
		cancel()
		if ctx.Err() != nil {
			return
		}
		for _, event := range m.Alerts.Changes(report, m.Cache) {
			m.log(event)
			m.Emit(event)
		}
	}
}

// log logs a change that no other log message covers.
func (m *Monitor) log(event Event) {
	switch event.Name {
	case AlertRaised:
		m.Logger.Warn("health check warns", slog.Any("check", event.Data["check"]), slog.Any("error", event.Data["output"]),
			slog.String("runbook", Runbook(fmt.Sprint(event.Data["check"]))))
	case AlertCleared:
		m.Logger.Info("health check passes again", slog.Any("check", event.Data["check"]))
	}
}
