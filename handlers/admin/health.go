package admin

import (
	"context"
	"net/http"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/health"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
)

// getLive answers 200 while Caddy runs, in every state of the store.
func getLive(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	return writeJSONAs(w, http.StatusOK, "application/health+json", wire.Health{Status: wire.HealthPass})
}

// getHealth answers 200 for pass and warn, 503 for fail.
func getHealth(w http.ResponseWriter, r *http.Request) error {
	report := wire.Health{Status: wire.HealthFail, Output: notRunning}
	if app, ok := lifetime.Running(); ok {
		ctx, cancel := context.WithTimeout(r.Context(), health.Timeout)
		defer cancel()
		report = health.Of(ctx, app.Cache(), app.Policy().Alert, app.Lookups())
	}
	status := http.StatusOK
	if report.Status == wire.HealthFail {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSONAs(w, status, "application/health+json", report)
}
