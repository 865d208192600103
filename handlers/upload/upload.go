package upload

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
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

const uploadDirective = "upload_progress"

// Handler publishes the progress of each upload, so that every node can report
// it. It neither slows nor fails an upload: bytes are counted as they pass, and
// a separate goroutine writes the counts to the store. If the store is slow, it
// skips writes.
type Handler struct {
	// The identity of the upload, with placeholders: a text, or an array of
	// texts for an identity of several parts. An upload without an identity is
	// not published; the answer to a malformed identity is 400. Required.
	ID lookup.Identity `json:"id,omitempty"`

	// How long a record lives after its last write, as a duration. Default:
	// that of the family, 10m.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// The time between two writes, as a duration. An idle upload is written
	// every third of the TTL, at most every 10s, if that is longer. Default:
	// 500ms.
	Interval caddy.Duration `json:"interval,omitempty"`

	// The owner of the upload, with placeholders. While an upload runs, uploads
	// of other owners with the same identity are not published. Default: no
	// owner.
	Owner string `json:"owner,omitempty"`

	// The name of this route in logs. Default: the directive's name, site and
	// line.
	Name string `json:"name,omitempty"`

	keys      uploadKeys
	owner     lookup.IdentityReader
	app       lookup.App
	cache     *cache.Cache
	policy    *lookup.Policy
	logger    *zap.Logger
	finishing chan struct{} // a slot for each publisher that may wait for the store
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
	if h.owner, err = newOwner(ctx, h.Owner); err != nil {
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
	recorder := caddyhttp.NewResponseRecorder(w, nil, nil) // it never buffers
	p := h.publisher(r.Context(), u)
	release := h.app.Hold() // an upload may outlive its configuration
	go func() {
		defer release()
		p.run()
	}()
	panicked := true
	defer func() {
		if panicked { // a proxy that cannot finish its response panics
			p.end(u.verdict(r.Context(), recorder.Status(), http.ErrAbortHandler))
		}
	}()
	err = next.ServeHTTP(recorder, r)
	panicked = false
	p.end(u.verdict(r.Context(), recorder.Status(), err))
	return err
}

// begin starts to count the body of a request, if it is an upload with an
// identity; otherwise the upload is nil. A malformed identity is an error.
func (h *Handler) begin(r *http.Request) (*upload, error) {
	if !isUpload(r) {
		return nil, nil
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	key, err := h.keys.key(r, repl)
	if key == "" || err != nil {
		return nil, err
	}
	owner, err := ownerOf(h.owner, r, repl)
	if err != nil {
		return nil, err
	}
	u := &upload{key: key, owner: owner, size: r.ContentLength, started: time.Now()}
	if r.Body == nil || r.Body == http.NoBody {
		u.size = 0 // the body stays: other handlers compare it with NoBody
	} else {
		r.Body = countBody(r.Body, u)
	}
	return u, nil
}

// isUpload reports whether a request has a body, or a method whose body may be
// empty. CONNECT is not an upload.
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
		if err := lookup.CheckClaims(ctx, "identity", part); err != nil {
			return uploadKeys{}, err
		}
	}
	key, err := cache.ParseKeyTemplate(policy.Family(cache.UploadProgress).KeyTemplate)
	if err != nil {
		return uploadKeys{}, err
	}
	key[0] = policy.KeyPrefix + key[0]
	return uploadKeys{key, lookup.NewIdentityReader(id, false).On(ctx)}, nil
}

// key is the key of a request's upload, or "" without an identity. The error
// wraps [cache.ErrMalformedIdentity].
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
