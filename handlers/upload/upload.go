package upload

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

const uploadDirective = "upload_progress"

// Handler publishes how far each upload has come, so that any node can
// tell. It neither slows nor fails an upload: bytes are counted as they pass,
// and written to the store by a goroutine of their own, which leaves out what
// the store is too slow for.
type Handler struct {
	// The identity of the upload, with placeholders: a text, or an array of
	// texts for one of several parts. Without one, an upload passes unpublished;
	// a malformed one is answered 400.
	ID lookup.Identity `json:"id,omitempty"`

	// How long a record lives after it was last written. Default: that of the
	// family, 10m.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// The time between two writes. Default 500ms. While nothing comes, it is a
	// third of the TTL, at most 10s, where that is longer.
	Interval caddy.Duration `json:"interval,omitempty"`

	// Whose upload it is, with placeholders. While an upload runs, those of
	// other owners under the same identity are not published.
	Owner string `json:"owner,omitempty"`

	// The name of this route in logs. Default: made of the directive's name
	// and position.
	Name string `json:"name,omitempty"`

	keys      uploadKeys
	app       lookup.App
	cache     *cache.Cache
	policy    *lookup.Policy
	logger    *zap.Logger
	finishing chan struct{} // has room for as many as may wait for the store
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + uploadDirective, New: func() caddy.Module { return new(Handler) }}
}

const defaultUploadInterval = 500 * time.Millisecond

// Provision finds the cache and resolves defaults.
func (h *Handler) Provision(ctx caddy.Context) error {
	app, err := lookup.AppOf(ctx)
	if err != nil {
		return err
	}
	h.app, h.cache, h.policy = app, app.Cache(), app.Policy()
	h.finishing = make(chan struct{}, maxFinishing)
	name := app.NameRoute(h.Name, uploadDirective)
	if err := app.Lookups().Claim(uploadDirective+" '"+name+"'", h.policy.KeyPrefix, h.policy.Family(cache.UploadProgress)); err != nil {
		return err
	}
	if err := checkOwner(ctx, h.Owner); err != nil {
		return err
	}
	h.logger = ctx.Logger().With(zap.String("route", name))
	if h.Interval == 0 {
		h.Interval = caddy.Duration(defaultUploadInterval)
	}
	if h.TTL == 0 {
		h.TTL = caddy.Duration(h.policy.Family(cache.UploadProgress).TTL)
	}
	h.keys, err = newUploadKeys(ctx, h.policy, h.ID)
	return err
}

// Validate checks what Provision only reads.
func (h *Handler) Validate() error {
	switch {
	case len(h.ID) == 0:
		return errors.New("there is no identity: want one like {http.request.header.X-Upload-Id}")
	case time.Duration(h.Interval) < cache.MinTTL:
		return fmt.Errorf("interval is %s: want at least %s", time.Duration(h.Interval), cache.MinTTL)
	case h.TTL/2 < h.Interval:
		return fmt.Errorf("ttl is %s and interval %s: records would expire between two writes; want a ttl of at least twice the interval",
			time.Duration(h.TTL), time.Duration(h.Interval))
	}
	return nil
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	u, err := h.begin(r)
	if err != nil {
		return lookup.Refuse(http.StatusBadRequest, err)
	}
	if u == nil {
		return next.ServeHTTP(w, r)
	}
	h.cache.Stats().Uploads.Begin()
	recorder := caddyhttp.NewResponseRecorder(w, nil, nil) // never buffers
	p := h.publisher(r.Context(), u)
	release := h.app.Hold() // an upload may outlive its configuration
	go func() {
		defer release()
		p.run()
	}()
	panicked := true
	defer func() {
		if panicked { // a proxy that cannot finish its answer does
			p.end(u.verdict(r.Context(), recorder.Status(), http.ErrAbortHandler))
		}
	}()
	err = next.ServeHTTP(recorder, r)
	panicked = false
	p.end(u.verdict(r.Context(), recorder.Status(), err))
	return err
}

// begin counts the body of a request from now on, if it is an upload with an
// identity; else the upload is nil. A malformed identity is an error.
func (h *Handler) begin(r *http.Request) (*upload, error) {
	if !isUpload(r) {
		return nil, nil
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	key, err := h.keys.key(r, repl)
	if key == "" || err != nil {
		return nil, err
	}
	owner := repl.ReplaceAll(h.Owner, "")
	if err := cache.CheckIdentity(owner); err != nil {
		return nil, err
	}
	u := &upload{key: key, owner: owner, size: r.ContentLength, started: time.Now()}
	if r.Body == nil || r.Body == http.NoBody {
		u.size = 0 // others look for NoBody, so it stays
	} else {
		r.Body = countBody(r.Body, u)
	}
	return u, nil
}

// isUpload reports whether a request has a body, or is one of those that may
// have an empty one. The stream of a CONNECT is no upload.
func isUpload(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	case http.MethodConnect:
		return false
	}
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

func (h *Handler) publisher(ctx context.Context, u *upload) *publisher {
	return &publisher{
		ctx: context.WithoutCancel(ctx), upload: u, cache: h.cache, logger: h.logger,
		ttl: time.Duration(h.TTL), interval: time.Duration(h.Interval),
		timeout: h.policy.LookupTimeout, maxSize: h.policy.MaxValueSize,
		finishing: h.finishing, ended: make(chan struct{}),
	}
}

// checkOwner refuses an owner that is the same for every request, or that no
// request has: all clients would own each other's uploads.
func checkOwner(ctx caddy.Context, owner string) error {
	if owner == "" {
		return nil
	}
	names, err := template.Placeholders(owner)
	if err == nil && !slices.ContainsFunc(names, template.IsOfRequest) {
		err = errors.New("it is the same for every client: write one like {http.session.user_id}")
	}
	if err == nil {
		err = template.CheckFilled(owner)
	}
	if err != nil {
		return fmt.Errorf("owner '%s': %w", owner, err)
	}
	return template.Check(ctx.Logger(), "owner", owner)
}

// uploadKeys makes the keys of uploads.
type uploadKeys struct {
	template cache.KeyTemplate
	identity lookup.IdentityReader
}

func newUploadKeys(ctx caddy.Context, policy *lookup.Policy, id lookup.Identity) (uploadKeys, error) {
	for _, part := range id {
		if err := template.Check(ctx.Logger(), "identity", part); err != nil {
			return uploadKeys{}, err
		}
		if err := template.CheckFilled(part); err != nil {
			return uploadKeys{}, fmt.Errorf("identity '%s': %w", part, err)
		}
	}
	key, err := cache.ParseKeyTemplate(policy.Family(cache.UploadProgress).KeyTemplate)
	if err != nil {
		return uploadKeys{}, err
	}
	key[0] = policy.KeyPrefix + key[0]
	return uploadKeys{key, lookup.NewIdentityReader(id, false)}, nil
}

// key is the key of the upload that a request is about, "" where it has no
// identity. The error wraps [cache.ErrMalformedIdentity].
func (k uploadKeys) key(r *http.Request, repl *caddy.Replacer) (string, error) {
	id := k.identity.Of(r, repl)
	if id.ID == "" {
		return "", nil
	}
	if err := k.identity.Check(id); err != nil {
		return "", err
	}
	return k.template.Key(cache.KeyIdentity(id.ID, false)), nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
