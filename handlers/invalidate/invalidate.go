package invalidate

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// LookupInvalidate drops records on every node when the next handler has
// succeeded: answered 2xx or 3xx. It does so before the client gets the
// answer, so that the client's next request already sees the change.
type Handler struct {
	// The keys of records to drop, with placeholders, without key_prefix.
	Keys []string `json:"keys,omitempty"`

	// Drop every record that bears one of these tags, with placeholders.
	Tags []string `json:"tags,omitempty"`

	policy *lookup.Policy
	cache  *cache.Cache
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.lookup_invalidate",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision finds the cache.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	app, err := lookup.AppOf(ctx)
	if err != nil {
		return err
	}
	h.policy, h.cache = app.Policy(), app.Cache()
	return nil
}

// Validate refuses a handler without work.
func (h *Handler) Validate() error {
	if len(h.Keys)+len(h.Tags) == 0 {
		return errors.New("there is nothing to invalidate: want a key like session:user:{http.request.cookie.session}, or a tag")
	}
	return nil
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	watch := &successWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	watch.succeeded = func() { h.invalidate(r) }
	err := next.ServeHTTP(watch, r)
	if err == nil {
		watch.answered(http.StatusOK) // what a handler that wrote nothing answers
	}
	return err
}

func (h *Handler) invalidate(r *http.Request) {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.policy.LookupTimeout)
	defer cancel()
	var errs []error
	var keys []string
	for _, template := range h.Keys {
		key := repl.ReplaceAll(template, "")
		if err := cache.CheckIdentity(key); err != nil {
			errs = append(errs, err)
			continue
		}
		keys = append(keys, h.policy.KeyPrefix+key)
	}
	if len(keys) > 0 {
		_, err := h.cache.Delete(ctx, keys...)
		errs = append(errs, err)
	}
	for _, template := range h.Tags {
		tag := repl.ReplaceAll(template, "")
		err := cache.CheckIdentity(tag)
		if err == nil && tag != "" {
			err = h.cache.DropTag(ctx, tag)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		h.logger.Error("records were not invalidated and may be used until they expire", zap.Error(err))
	}
}

// successWriter calls succeeded once, before a final response of 2xx or 3xx
// gets on its way.
type successWriter struct {
	caddyhttp.ResponseWriterWrapper
	succeeded func()
	done      bool
}

func (w *successWriter) answered(status int) {
	if w.done || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.done = true
	if status >= 200 && status < 400 {
		w.succeeded()
	}
}

func (w *successWriter) WriteHeader(status int) {
	w.answered(status)
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *successWriter) Write(p []byte) (int, error) {
	w.answered(http.StatusOK)
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom keeps sendfile possible.
func (w *successWriter) ReadFrom(r io.Reader) (int64, error) {
	w.answered(http.StatusOK)
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError sends what there is so far.
func (w *successWriter) FlushError() error {
	w.answered(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// ParseLookupInvalidate reads the directive:
//
//	lookup_invalidate [<matcher>] <key...> {
//		tag <template...>
//	}
func Parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	m := new(Handler)
	return m, m.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the handler; see [ParseLookupInvalidate].
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	h.Keys = d.RemainingArgs()
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "tag" {
			return d.Errf("unknown subdirective '%s': lookup_invalidate takes keys and tag <template...>", d.Val())
		}
		tags := d.RemainingArgs()
		if len(tags) == 0 {
			return d.Err("tag takes one template or more")
		}
		h.Tags = append(h.Tags, tags...)
	}
	if len(h.Keys)+len(h.Tags) == 0 {
		return d.Err("lookup_invalidate takes a key like session:user:{cookie.session}, or a block with tag")
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
