package dashboard

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const directiveName = "lookup_dashboard"

// Handler serves a page that shows the lookups: their number, speed and results, and
// the warnings of health. It works under any path, loads nothing from other sites, and
// answers every request that reaches it. It has no access control of its own: put
// basic_auth, session_lookup or cached_forward_auth before it. The page can look up
// records, including sessions.
type Handler struct {
	// Whether the page may purge keys. Default: false.
	Purge bool `json:"purge,omitempty"`

	app     lookup.App
	logger  *zap.Logger
	monitor *monitor
	streams *atomic.Int64   // the number of open ones
	done    <-chan struct{} // closed when the server shuts down, or the configuration ends
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + directiveName, New: func() caddy.Module { return new(Handler) }}
}

// Provision starts the measurements, unless those of an earlier configuration go on.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.logger, h.done, h.streams = ctx.Logger(), ending(ctx), new(atomic.Int64)
	if h.app, err = lookup.AppOf(ctx); err != nil {
		return err
	}
	h.monitor = acquireMonitor()
	return nil
}

// ending returns a channel that is closed when the configuration ends, or when the
// handler's server begins to shut down, which waits for open streams.
func ending(ctx caddy.Context) <-chan struct{} {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return ctx.Done()
	}
	open, end := context.WithCancel(ctx)
	server.RegisterOnShutdown(end)
	return open.Done()
}

// Cleanup ends the measurements with the last configuration that has a page.
func (h *Handler) Cleanup() error {
	if h.monitor != nil {
		releaseMonitor()
	}
	return nil
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler]. It answers every request:
// GET with the page, GET ?stream with its figures, POST with the result of the page's
// form.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Has("stream"):
		return h.stream(w, r)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		setToken(w, r)
		return thePage.serve(w, r)
	case r.Method == http.MethodPost:
		return h.act(w, r)
	}
	header.Set("Allow", "GET, HEAD, POST")
	return caddyhttp.Error(http.StatusMethodNotAllowed, errors.New("a dashboard is read with GET"))
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
