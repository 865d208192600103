package invalidate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const logPending = "invalidation after a successful request is pending"

// Handler drops records on every node after the next handler has answered 2xx or 3xx. The
// client gets the response when the records are dropped, so that its next request to this
// node sees the change. If that takes longer than lookup_timeout, the client gets on_error
// instead, this node no longer uses the records, and the drop is retried until it succeeds.
type Handler struct {
	// The keys of records to drop, with placeholders, without key_prefix. If
	// lookups hash the identity in such a key, because of its length or because of
	// hash_id, the hashed key is dropped as well. {session} is the key of the
	// session that session_lookup looked up for this request. Default: none;
	// keys or tags are required.
	Keys []string `json:"keys,omitempty"`

	// The tags whose records are dropped, with placeholders. One with an empty
	// placeholder drops nothing. Default: none.
	Tags []string `json:"tags,omitempty"`

	// The response if the records could not be dropped: a status from 400 to
	// 599, or continue for the next handler's response. Default: 503.
	OnError *lookup.Reaction `json:"on_error,omitempty"`

	app        lookup.App
	logger     *zap.Logger
	keys, tags []written // without {session}
	session    bool      // whether {session} is one of the keys
}

const invalidateDirective = "lookup_invalidate"

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers." + invalidateDirective,
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision finds the cache.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if h.OnError == nil {
		h.OnError = &lookup.Reaction{Status: http.StatusServiceUnavailable}
	}
	var err error
	if h.app, err = lookup.AppOf(ctx); err != nil {
		return err
	}
	return h.provisionTemplates(ctx, h.app.Policy())
}

// Validate refuses a handler that drops nothing.
func (h *Handler) Validate() error {
	if len(h.Keys)+len(h.Tags) == 0 {
		return errors.New("there is nothing to invalidate: want a key like {session} or session:user:{http.request.cookie.session}, or a tag")
	}
	e := h.OnError
	if e.Redirect != "" || e.Continue == (e.Status != 0) || e.Status != 0 && (e.Status < 400 || e.Status > 599) {
		return errors.New("on_error: want a status from 400 to 599, or continue")
	}
	return nil
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	named, err := h.named(r, repl)
	if err != nil {
		return lookup.Refuse(http.StatusBadRequest, err)
	}
	// the request may outlive its configuration
	defer h.app.Hold()()
	held := &heldResponse{
		ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		before:                w.Header().Clone(),
		succeeded:             func() error { return h.invalidate(r, named) },
	}
	err = next.ServeHTTP(held, r)
	if err == nil {
		held.answered(http.StatusOK) // a handler that writes nothing answers 200
	}
	if held.failure != nil {
		held.withdraw()
		return caddyhttp.Error(h.OnError.Status, held.failure)
	}
	return err
}

// invalidate drops what the request named. The error is for the client.
func (h *Handler) invalidate(r *http.Request, named *named) error {
	c := h.app.Cache()
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.app.Policy().LookupTimeout)
	defer cancel()
	started := time.Now()
	var errs []error
	if keys := h.keysOf(r, repl, named); len(keys) > 0 {
		_, err := c.Delete(ctx, keys...)
		errs = append(errs, err)
	}
	for _, tag := range h.tagsOf(r, repl, named) {
		errs = append(errs, c.DropTag(ctx, tag))
	}
	err := cache.JoinErrors(errs...)
	if err == nil {
		return nil
	}
	if h.OnError.Continue { // otherwise Caddy logs the error of the request
		h.logger.Error(logPending, zap.Duration("waited", time.Since(started)), zap.Error(err))
		return nil
	}
	return fmt.Errorf("invalidation of records is pending: %w", err)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
