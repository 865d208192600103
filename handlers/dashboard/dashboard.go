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

// Handler serves a page that shows what the lookups do: how many, how fast,
// what they find, and what is wrong. It works under any path, needs nothing from
// elsewhere, and answers every request that reaches it. It has no access
// control of its own: put basic_auth, session_lookup or cached_forward_auth
// before it. The page can look up records, sessions among them.
type Handler struct {
	// Whether the page may purge keys. Default: false.
	Purge bool `json:"purge,omitempty"`

	app     lookup.App
	logger  *zap.Logger
	monitor *monitor
	streams *atomic.Int64   // that are open
	done    <-chan struct{} // closed when the server shuts down, or the configuration ends
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + directiveName, New: func() caddy.Module { return new(Handler) }}
}

// Provision starts to measure, unless a configuration before this one has.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.logger, h.done, h.streams = ctx.Logger(), ending(ctx), new(atomic.Int64)
	if h.app, err = lookup.AppOf(ctx); err != nil {
		return err
	}
	h.monitor = acquireMonitor()
	return nil
}

// ending is closed when the server of the handler begins to shut down, which
// waits for open streams, or when the configuration ends.
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
// GET with the page, GET ?stream with its figures, POST with what the page's
// form asks for.
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
