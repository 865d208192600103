package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const reportDirective = "upload_progress_report"

// Report answers with the progress of an upload that runs on any node: as JSON or,
// if the client accepts text/event-stream, as events until the upload has ended.
type Report struct {
	// The identity of the upload, with placeholders: a text, or an array of
	// texts for an identity of several parts. Required.
	ID lookup.Identity `json:"id,omitempty"`

	// The owner of the request, with placeholders. Uploads of other owners, or
	// of none, are not found. Default: every client may read every upload.
	Owner string `json:"owner,omitempty"`

	// The time between two events, as a duration. Default: 500ms.
	Interval caddy.Duration `json:"interval,omitempty"`

	keys    uploadKeys
	owner   lookup.IdentityReader
	app     lookup.App
	cache   *cache.Cache
	timeout time.Duration // of one read
	hub     *uploadHub
	done    <-chan struct{} // closed with the configuration
}

// CaddyModule returns the Caddy module information.
func (Report) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + reportDirective, New: func() caddy.Module { return new(Report) }}
}

// Provision finds the cache and resolves defaults.
func (h *Report) Provision(ctx caddy.Context) error {
	app, err := lookup.AppOf(ctx)
	if err != nil {
		return err
	}
	h.app, h.cache, h.timeout, h.done = app, app.Cache(), app.Policy().LookupTimeout, ctx.Done()
	if h.Interval == 0 {
		h.Interval = caddy.Duration(defaultUploadInterval)
	}
	if h.owner, err = newOwner(ctx, h.Owner); err != nil {
		return err
	}
	h.hub = &uploadHub{read: h.read, interval: time.Duration(h.Interval)}
	h.keys, err = newUploadKeys(ctx, app.Policy(), h.ID)
	return err
}

// Validate checks what Provision only reads.
func (h *Report) Validate() error {
	if len(h.ID) == 0 {
		return errors.New("there is no identity: want one like {http.request.uri.path.1}")
	}
	if time.Duration(h.Interval) < cache.MinTTL {
		return fmt.Errorf("interval is %s: want at least %s", time.Duration(h.Interval), cache.MinTTL)
	}
	return nil
}

var errNoUpload = errors.New("there is no such upload")

// ServeHTTP implements [caddyhttp.MiddlewareHandler]. It answers every request.
func (h *Report) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return caddyhttp.Error(http.StatusMethodNotAllowed, errors.New("a report is read with GET"))
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	key, err := h.keys.key(r, repl)
	if err != nil {
		return lookup.Refuse(http.StatusBadRequest, err)
	}
	owner, err := ownerOf(h.owner, r, repl)
	if err != nil {
		return lookup.Refuse(http.StatusBadRequest, err)
	}
	if key == "" || h.Owner != "" && owner == "" {
		return caddyhttp.Error(http.StatusNotFound, errNoUpload)
	}
	if r.Method == http.MethodGet && wantsEvents(r.Header.Values("Accept")) {
		return h.stream(w, r, key, owner)
	}
	record, err := h.read(context.WithoutCancel(r.Context()), key)
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	if !h.mayRead(record, owner) {
		return caddyhttp.Error(http.StatusNotFound, errNoUpload)
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(reportOf(record), '\n'))
	return err
}

// read reads the store itself, because a near copy could be out of date.
func (h *Report) read(ctx context.Context, key string) (*cache.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	entry, err := h.cache.Get(ctx, key)
	return entry.Record, err
}

// mayRead reports whether the record exists and this owner may read it.
func (h *Report) mayRead(record *cache.Record, owner string) bool {
	if record == nil || record.State() != cache.Found {
		return false
	}
	if h.Owner == "" {
		return true
	}
	recorded, _ := record.Field("owner")
	return recorded.Text() == owner
}

// reportFields are the fields of a report. The owner is not one of them.
var reportFields = [...]string{"progress", "status", "http_status", "timestamp", "received", "size", "rate", "started"}

// reportOf is the report of a record, as JSON on one line.
func reportOf(record *cache.Record) []byte {
	report := []byte("{")
	for _, name := range reportFields {
		value, ok := record.Field(name)
		if !ok || !value.IsScalar() {
			continue
		}
		if len(report) > 1 {
			report = append(report, ", "...)
		}
		report = fmt.Appendf(report, "%q: ", name)
		if value.IsString() { // another client may have written it
			text, _ := json.Marshal(value.Text()) // strings always marshal
			report = append(report, text...)
		} else {
			report = append(report, value.JSON()...)
		}
	}
	return append(report, '}')
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Report)(nil)
	_ caddy.Validator             = (*Report)(nil)
	_ caddyhttp.MiddlewareHandler = (*Report)(nil)
)
