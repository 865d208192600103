package invalidate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

const logPending = "invalidation after a successful request is pending"

// Handler drops records on every node when the next handler has succeeded:
// answered 2xx or 3xx. The client gets the answer when that is done, so that
// its next request to this node sees the change. Where it cannot be done within
// lookup_timeout, the client gets on_error instead, this node uses none of those
// records from then on, and the invalidation is tried again until it is done.
type Handler struct {
	// The keys of records to drop, with placeholders, without key_prefix. Where
	// lookups hash the identity in such a key, because of its length or of
	// hash_id, the key that they use is dropped as well. The key {session} is
	// that of the session which session_lookup has found for this request, or
	// has looked for.
	Keys []string `json:"keys,omitempty"`

	// Drop every record that bears one of these tags, with placeholders.
	Tags []string `json:"tags,omitempty"`

	// What the client gets where the records could not be dropped: a status
	// from 400 to 599, or continue for the answer as it is. Default: 503.
	OnError *lookup.Reaction `json:"on_error,omitempty"`

	app    lookup.App
	logger *zap.Logger
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
	return h.provisionTemplates(ctx.Logger(), h.app.Policy())
}

// Validate refuses a handler without work.
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
	if err := h.checkTemplates(repl); err != nil {
		return lookup.Refuse(http.StatusBadRequest, err)
	}
	// session_lookup may delete a header that has the identity
	before := h.keys(r, repl)
	// the request may outlive its configuration
	defer h.app.Hold()()
	held := &heldResponse{
		ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		before:                w.Header().Clone(),
		succeeded:             func() error { return h.invalidate(r, before) },
	}
	err := next.ServeHTTP(held, r)
	if err == nil {
		held.answered(http.StatusOK) // what a handler that wrote nothing answers
	}
	if held.failure != nil {
		held.withdraw()
		return caddyhttp.Error(h.OnError.Status, held.failure)
	}
	return err
}

// invalidate drops what the request names, or did name before the next handler
// had it. The error is for the client.
func (h *Handler) invalidate(r *http.Request, before []string) error {
	c := h.app.Cache()
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.app.Policy().LookupTimeout)
	defer cancel()
	started := time.Now()
	var errs []error
	keys := append(before, h.keys(r, repl)...)
	slices.Sort(keys)
	if keys = slices.Compact(keys); len(keys) > 0 {
		_, err := c.Delete(ctx, keys...)
		errs = append(errs, err)
	}
	for _, text := range h.Tags {
		// no record bears a tag that is empty or malformed
		if tag := repl.ReplaceAll(text, ""); tag != "" && checkTemplate(repl, text) == nil {
			errs = append(errs, c.DropTag(ctx, tag))
		}
	}
	err := cache.JoinErrors(errs...)
	if err == nil {
		return nil
	}
	h.logger.Error(logPending, zap.Duration("waited", time.Since(started)), zap.Error(err))
	if h.OnError.Continue {
		return nil
	}
	return fmt.Errorf("records were not invalidated everywhere yet: %w", err)
}

// checkTemplates refuses a request whose placeholders give a malformed key or
// tag, before it gets to the next handler.
func (h *Handler) checkTemplates(repl *caddy.Replacer) error {
	for _, text := range append(slices.Clone(h.Keys), h.Tags...) {
		if err := checkTemplate(repl, text); err != nil {
			return err
		}
	}
	return nil
}

// checkTemplate checks what each placeholder gives: it may be as long as an
// identity, whatever stands around it.
func checkTemplate(repl *caddy.Replacer, text string) error {
	names, err := template.Placeholders(text)
	if err != nil {
		return cache.CheckIdentity(repl.ReplaceAll(text, ""))
	}
	for _, name := range names {
		if err := cache.CheckIdentity(repl.ReplaceAll("{"+name+"}", "")); err != nil {
			return err
		}
	}
	return nil
}

// keys are those that the request names. No record has a key that is empty,
// malformed, or one of the plugin's own.
func (h *Handler) keys(r *http.Request, repl *caddy.Replacer) []string {
	policy := h.app.Policy()
	var keys []string
	for _, text := range h.Keys {
		if text == sessionKey {
			if key := lookup.FindingsOf(repl).Session.Key; key != "" {
				keys = append(keys, key)
			}
			continue
		}
		key := repl.ReplaceAll(text, "")
		if key != "" && checkTemplate(repl, text) == nil && !policy.IsOwn(policy.KeyPrefix+key) {
			keys = append(keys, h.app.Lookups().KeysOf(r, repl, policy, text, key)...)
		}
	}
	return keys
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
