// Package admin is the plugin's part of Caddy's admin API.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// API adds endpoints under /filewallball/ to Caddy's admin API, to watch
// the shared cache and to change what is in it:
//
//	GET    stats         outcomes and latencies of lookups, and numbers of the store
//	GET    health        whether the store answers, and which thresholds are exceeded
//	GET    health/live   200 while Caddy runs
//	GET    info          the server behind the store
//	GET    keys          lists keys, by prefix
//	GET    keys/{key}    a record and its remaining TTL; also HEAD
//	PUT    keys/{key}    writes a record
//	DELETE keys/{key}    drops a record
//	POST   get           GET keys/{key} with the key in the body
//	POST   set           PUT keys/{key} with key, TTL and value in the body
//	POST   delete        DELETE keys/{key} with the key in the body
//	POST   purge         drops many records
//	POST   warm          loads records in advance
//	GET    backup        reads all records
//	POST   restore       writes the records of a backup
//	POST   bench         measures the store
//
// Keys are those under key_prefix, without the plugin's own: see [CheckScope].
//
// If no running configuration uses the cache, every answer is a 503.
//
// Caddy makes admin modules before any app, and once more for remote
// administration, so each request finds the running app anew.
type API struct{}

// CaddyModule returns the Caddy module information.
func (API) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api." + lookup.AppID,
		New: func() caddy.Module { return new(API) },
	}
}

const adminBase = "/" + lookup.AppID + "/"

// Routes returns the endpoints. Their patterns name no methods, so that a wrong method
// is answered in JSON like every other error of the admin API.
func (API) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: adminBase, Handler: caddy.AdminHandlerFunc(unknownEndpoint)},
		{Pattern: adminBase + "stats", Handler: reading(with(getStats))},
		{Pattern: adminBase + "health", Handler: reading(getHealth)},
		{Pattern: adminBase + "health/live", Handler: reading(getLive)},
		{Pattern: adminBase + "info", Handler: reading(with(getInfo))},
		{Pattern: adminBase + "keys", Handler: reading(with(listKeys))},
		{Pattern: adminKey, Handler: methods{
			http.MethodGet: with(getKey), http.MethodHead: with(getKey),
			http.MethodPut: with(putKey), http.MethodDelete: with(deleteKey),
		}},
		{Pattern: adminBase + "get", Handler: methods{http.MethodPost: with(postGet)}},
		{Pattern: adminBase + "set", Handler: methods{http.MethodPost: with(postSet)}},
		{Pattern: adminBase + "delete", Handler: methods{http.MethodPost: with(postDelete)}},
		{Pattern: adminBase + "purge", Handler: methods{http.MethodPost: with(purge)}},
		{Pattern: adminBase + "warm", Handler: methods{http.MethodPost: with(warm)}},
		{Pattern: adminBase + "backup", Handler: methods{http.MethodGet: with(backup)}},
		{Pattern: adminBase + "restore", Handler: methods{http.MethodPost: with(restore)}},
		{Pattern: adminBase + "bench", Handler: methods{http.MethodPost: with(bench)}},
	}
}

func unknownEndpoint(http.ResponseWriter, *http.Request) error {
	return refuse(http.StatusNotFound, "there is no such endpoint: want stats, health, health/live, info, keys, keys/{key}, get, set, delete, purge, warm, backup, restore or bench")
}

// methods are the methods of an endpoint.
type methods map[string]caddy.AdminHandlerFunc

// reading is an endpoint that changes nothing.
func reading(serve caddy.AdminHandlerFunc) methods {
	return methods{http.MethodGet: serve, http.MethodHead: serve}
}

// ServeHTTP answers by the request's method.
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	serve, ok := m[r.Method]
	if !ok {
		allowed := strings.Join(slices.Sorted(maps.Keys(m)), ", ")
		w.Header().Set("Allow", allowed)
		return refuse(http.StatusMethodNotAllowed, "method not allowed: want "+allowed)
	}
	return serve(w, r)
}

const notRunning = "no configuration uses " + lookup.AppID

// with calls an endpoint with the running app, whose cache stays open until the
// endpoint has answered: a backup may outlive the configuration.
func with(serve func(http.ResponseWriter, *http.Request, lookup.App) error) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		app, ok := lifetime.Running()
		if !ok {
			return refuse(http.StatusServiceUnavailable, notRunning)
		}
		defer app.Hold()()
		return serve(w, r, app)
	}
}

// refuse returns the error of a wrong request. Caddy logs it, so it never repeats what
// the client sent.
func refuse(status int, message string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(message)}
}

// storeError returns the error for a client when the store failed. Details are in the
// log.
func storeError(err error) error {
	switch {
	case errors.Is(err, cache.ErrInvalidRecord):
		return caddy.APIError{HTTPStatus: http.StatusUnprocessableEntity, Err: err}
	case unavailable(err):
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err, Message: "the store is unavailable: the log says why"}
	}
	return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err, Message: "the store failed: the log says why"}
}

func unavailable(err error) bool {
	return errors.Is(err, cache.ErrUnavailable) || errors.Is(err, cache.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// adminTimeout is how long an endpoint waits for the store, unless it goes through all
// keys.
const adminTimeout = 5 * time.Second

// withTimeout returns the context of a request with adminTimeout.
func withTimeout(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), adminTimeout)
}

// ping returns an error if the store does not answer.
func ping(r *http.Request, app lookup.App) error {
	ctx, cancel := withTimeout(r)
	defer cancel()
	if err := app.Cache().Store().Ping(ctx); err != nil {
		return storeError(err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	return writeJSONAs(w, http.StatusOK, "application/json", v)
}

func writeJSONAs(w http.ResponseWriter, status int, contentType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// Interface guards
var (
	_ caddy.Module       = (*API)(nil)
	_ caddy.AdminRouter  = (*API)(nil)
	_ caddy.AdminHandler = methods(nil)
)
