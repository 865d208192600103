package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/session/stores"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

const (
	sessionDirective = "session_lookup"
)

// Handler finds the session of a request and lets only requests with a valid
// session pass. By default, a request without a session is answered 401, a
// denied session 403, and a failed lookup 503. A malformed identity is always
// answered 400.
//
// Placeholders for the handlers that follow:
//
// Placeholder | Description
// ------------|---------------
// `{http.session.outcome}` | The outcome of the lookup: `hit`, `stale`, `miss`, `absent`, `denied`, `error`, or `none` where there was no usable identity
// `{http.session.id}` | The identity, a secret where it is a cookie or a token
// `{http.session.<path>}` | A field of a valid session's record; dots descend
// `{http.auth.user.id}` | The user, also in access logs: the field that the store of `from` knows, or else the record's `user_id`, `sub` or `id`
type Handler struct {
	lookup.Lookup

	// The application's own session store, which knows the cookie, the key and
	// the format of its sessions. It replaces the identity and needs Redis.
	// Default: sessions are records of this cache.
	FromRaw json.RawMessage `json:"from,omitempty" caddy:"namespace=filewallball.session_stores inline_key=store"`

	// Whether each use of a session extends it to its full TTL. The TTL is
	// written at most once per tenth of the TTL. Default: false.
	Sliding bool `json:"sliding,omitempty"`

	// The field with the end of a session. Default: expires_at, in Unix seconds
	// or RFC 3339.
	Expires *Expiry `json:"expires,omitempty"`

	// The response to a request without an identity. ask looks up the request
	// at the source all the same. Default: that of on_missing.
	OnAnonymous *lookup.Reaction `json:"on_anonymous,omitempty"`

	// What a session must have, all of these; a session without one of them is
	// denied. Default: nothing.
	Require []Requirement `json:"require,omitempty"`

	// Request headers that are set from the record for the handlers that
	// follow. The client's own headers of these names are always deleted, after
	// the identity is read. Default: none.
	CopyHeaders []HeaderCopy `json:"copy_headers,omitempty"`

	// Routes for an answer of the source that denies the request, in place of
	// the reactions: those of the first entry that matches its status and
	// headers. As in reverse_proxy, routes that write no response lead to the
	// next handler. Of a cached answer, only the status is known. Default:
	// none.
	HandleResponse []caddyhttp.ResponseHandler `json:"handle_response,omitempty"`

	// Networks (CIDR) of proxies in front of this server, in addition to the
	// server's trusted_proxies. Their X-Forwarded-Proto, X-Forwarded-Host and
	// X-Forwarded-For become {http.forwarded.proto}, {http.forwarded.host} and
	// {http.forwarded.for} in the request to the source. Default: none.
	TrustedProxies []string `json:"trusted_proxies,omitempty"`

	rules   *sessionRules
	from    *from // nil where sessions are records of this cache
	proxies []netip.Prefix
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers." + sessionDirective,
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision resolves placeholders and defaults, and sets up the lookup. Its
// errors name the route.
func (s *Handler) Provision(ctx caddy.Context) error {
	return s.NameError(s.provision(ctx))
}

func (s *Handler) provision(ctx caddy.Context) error {
	for i := range s.Require {
		if err := s.Require[i].provision(); err != nil {
			return err
		}
	}
	var err error
	if s.CopyHeaders, err = resolveCopies(s.CopyHeaders); err != nil {
		return err
	}
	if s.proxies, err = parseNetworks(s.TrustedProxies); err != nil {
		return fmt.Errorf("trusted_proxies: %w", err)
	}
	if err := s.provisionHandleResponse(ctx); err != nil {
		return err
	}
	if len(s.FromRaw) == 0 { // fields of applications may begin with _
		if err := s.checkReserved(); err != nil {
			return err
		}
	}
	if err := s.provisionFrom(ctx); err != nil {
		return err
	}
	s.rules = newRules(s.Require, s.CopyHeaders, s.userFields())
	kind, err := s.kind()
	if err != nil {
		return err
	}
	if err := s.ProvisionLookup(ctx, kind); err != nil {
		return err
	}
	if err := s.checkAsked(); err != nil {
		return err
	}
	if s.OnAnonymous == nil {
		s.OnAnonymous = s.OnMissing
	}
	return lookup.CheckRedirect(ctx.Logger(), s.OnAnonymous.Redirect)
}

// kind describes the lookups of sessions: defaults, and how a record ends.
func (s *Handler) kind() (lookup.Kind, error) {
	kind := lookup.Kind{
		Directive:    sessionDirective,
		RecordName:   "session",
		Prefix:       lookup.SessionPrefix,
		Family:       cache.Session,
		FromRequest:  true,
		AnyPart:      true,
		Gated:        len(s.Require) > 0,
		Sliding:      s.Sliding,
		ExpiresAt:    true,
		HashWithHTTP: true,
		Revocable:    true,
		OnMissing:    lookup.Reaction{Status: http.StatusUnauthorized},
		OnDenied:     lookup.Reaction{Status: http.StatusForbidden},
		OnError:      lookup.Reaction{Status: http.StatusServiceUnavailable},
	}
	if s.Expires != nil {
		if err := s.Expires.validate(); err != nil {
			return lookup.Kind{}, err
		}
		kind.Expiry = cache.Expiry{Field: s.Expires.Field, Unit: s.Expires.Unit}
	}
	if s.from != nil {
		kind.Decoder, kind.DefaultKey = s.from, s.from.store.KeyTemplate()
		if signer, ok := s.from.store.(stores.Signer); ok {
			kind.Signed = signer.SignsIdentities()
		}
	}
	return kind, nil
}

// parseNetworks reads networks in CIDR notation, or single addresses.
func parseNetworks(texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := caddyhttp.CIDRExpressionToPrefix(text)
		if err != nil {
			return nil, fmt.Errorf("'%s' is not a network: want one like 10.0.0.0/8", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// checkReserved refuses fields that are reserved for the cache.
func (s *Handler) checkReserved() error {
	for i := range s.Require {
		if err := checkReserved(s.Require[i].Field); err != nil {
			return fmt.Errorf("require: %w", err)
		}
	}
	for i := range s.CopyHeaders {
		if err := checkReserved(s.CopyHeaders[i].Field); err != nil {
			return fmt.Errorf("copy_headers: %w", err)
		}
	}
	return nil
}

// checkAsked refuses a source that is sent a header of copy_headers with the client's
// value: these headers identify the user.
func (s *Handler) checkAsked() error {
	source, ok := s.Source().(lookup.Varying)
	if !ok {
		return nil
	}
	for _, text := range source.RequestTemplates() {
		names, err := template.Placeholders(text)
		if err != nil {
			return err
		}
		for _, name := range names {
			if header, ok := strings.CutPrefix(name, "http.request.header."); ok && isCopy(header, s.CopyHeaders) {
				return fmt.Errorf("the source is sent {%s}, which is also one of copy_headers: the source could take a client's value "+
					"for one of this server: leave it out of the source or of copy_headers", name)
			}
		}
	}
	return nil
}

// Validate checks what Provision only reads.
func (s *Handler) Validate() error {
	switch {
	case len(s.ID) == 0 && s.from == nil:
		return errors.New("there is no identity: want one like {http.request.cookie.session}, or from <store>")
	case s.from != nil && s.Expires != nil:
		return errors.New("from and expires exclude each other: the store knows when its sessions end")
	}
	if _, ok := s.Source().(lookup.Locator); ok {
		return errors.New("source " + s.Source().Name() + " finds files and no sessions: want http or none")
	}
	if s.OnAnonymous.Ask && s.Source() == nil {
		return errors.New("on_anonymous ask needs a source to ask: want source http <url>, or another reaction")
	}
	for name, reaction := range map[string]*lookup.Reaction{"on_missing": s.OnMissing, "on_denied": s.OnDenied, "on_error": s.OnError} {
		switch {
		case reaction.Ask:
			return fmt.Errorf("%s ask is not possible: the source was asked already; only on_anonymous takes it", name)
		case reaction.Pass && s.Source() == nil:
			return fmt.Errorf("%s pass needs a source whose answer to pass: want source http <url>, or a status", name)
		case reaction.Redirect != "" && name != "on_missing":
			return fmt.Errorf("%s takes no redirect: want a status, pass or continue", name)
		}
	}
	if err := s.validateHandleResponse(); err != nil {
		return err
	}
	if err := s.ValidateReactions(); err != nil {
		return err
	}
	if err := s.OnAnonymous.Validate(); err != nil {
		return fmt.Errorf("on_anonymous: %w", err)
	}
	return nil
}

// Causes of a refusal, for the log and for handle_errors.
var (
	errNoIdentity     = errors.New("request has no session identity")
	errNoSession      = errors.New("there is no such session")
	errSessionDenied  = errors.New("session is refused")
	errSessionUnknown = errors.New("session lookup failed")
)

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (s *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	f := lookup.FindingsOf(repl)
	// the identity may be in a header that copy_headers deletes, so it is read
	// first
	id, result, err := s.find(r, repl)
	switch {
	case err != nil:
		// a malformed identity is not published: it could break a log line or a header
		f.Session = lookup.Found{Outcome: cache.OutcomeNone}
		return lookup.Refuse(http.StatusBadRequest, err)
	case id == "" && !s.OnAnonymous.Ask:
		f.Session = lookup.Found{Outcome: cache.OutcomeNone}
		a := answer{w: w, r: r, repl: repl, next: next}
		return a.react(s.OnAnonymous, http.StatusUnauthorized, errNoIdentity)
	}

	if result.Outcome == cache.OutcomeError && errors.Is(r.Context().Err(), context.Canceled) {
		return lookup.Refuse(lookup.StatusClientClosed, context.Canceled)
	}
	var few [fewValues]string
	var found values
	var unmet error
	judged := result.OK()
	if judged {
		found = s.rules.read(result.Record, few[:])
		if unmet = s.rules.unmet(found); unmet != nil {
			result.Outcome = cache.OutcomeDenied
		}
	}
	s.Publish(w.Header(), f, &f.Session, id, &result)
	if result.OK() {
		s.admit(r, repl, f, id, found)
		return next.ServeHTTP(f.Writer(w), r)
	}
	a := answer{w: w, r: r, repl: repl, next: next, result: &result}
	a.source, _ = result.Response.(lookup.Responder)
	if !judged { // otherwise the source admitted the request
		if handled, err := a.handleResponse(s.HandleResponse); handled {
			return err
		}
	}
	if result.Record == nil && result.Err == nil && a.source != nil {
		a.source.Serve(w) // a redirect by the source
		return nil
	}
	switch result.Outcome {
	case cache.OutcomeAbsent:
		return a.react(s.OnMissing, http.StatusUnauthorized, errNoSession)
	case cache.OutcomeDenied:
		cause := errSessionDenied
		if judged {
			cause, a.source = unmet, nil // the source admitted it
		}
		return a.react(s.OnDenied, http.StatusForbidden, cause)
	}
	// an unknown outcome is refused as well
	return a.react(s.OnError, http.StatusServiceUnavailable, cmp.Or(result.Err, errSessionUnknown))
}

// find looks up the session of a request, and deletes the headers that are set
// from the session. Without an identity, id is empty and nothing is looked up,
// unless on_anonymous is ask. A malformed identity is an error.
func (s *Handler) find(r *http.Request, repl *caddy.Replacer) (id string, result cache.Result, err error) {
	var ids []string
	var identified lookup.Identified
	var req cache.Request
	if s.from != nil {
		ids = s.from.identities(r)
	} else if identified = s.Identify(r, repl); identified.ID != "" || s.OnAnonymous.Ask {
		req, err = s.Request(template.Trusting(r, s.proxies), repl, identified)
	}
	if len(s.CopyHeaders) > 0 {
		deleteCopies(r, s.CopyHeaders)
	}
	switch {
	case s.from != nil:
		return s.findFrom(r, repl, ids)
	case err != nil, req.Key == "":
		return "", cache.Result{}, err
	}
	return identified.ID, s.Find(r.Context(), req), nil
}

// admit sets the headers of copy_headers and the user, for the handlers that follow and
// the access log. A field "id" may be the id of the session itself, a credential that
// must not be logged.
func (s *Handler) admit(r *http.Request, repl *caddy.Replacer, f *lookup.Findings, id string, found values) {
	for i := range s.CopyHeaders {
		if value := s.rules.header(found, i); value != "" {
			r.Header[s.CopyHeaders[i].Header] = []string{value}
		}
	}
	if user, byID := s.rules.user(found); user != "" && !(byID && user == id) {
		f.SetUser(repl, user)
	}
}

// Interface guards
var (
	_ caddy.Module                = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
