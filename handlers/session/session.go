package session

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

const (
	sessionDirective = "session_lookup"
)

// Handler finds the session of a request and gates the route by it. What
// is not known to be a valid session is refused: by default a request without
// one is answered 401, a refused one 403, and one that nobody can tell about
// 503. A malformed identity is answered 400 whatever is configured.
//
// Placeholders for the handlers that follow:
//
// Placeholder | Description
// ------------|---------------
// `{http.session.outcome}` | What the lookup came to: `hit`, `stale`, `miss`, `absent`, `denied`, `error`, or `none` where there was no usable identity
// `{http.session.id}` | The identity, a secret where it is a cookie or a token
// `{http.session.<path>}` | A field of a valid session's record; dots descend
// `{http.auth.user.id}` | The record's `user_id`, `sub` or `id`, also in access logs
type Handler struct {
	lookup.Lookup

	// How an application keeps its sessions: the store knows their cookie, key
	// and format. It takes the place of the identity, and needs Redis.
	FromRaw json.RawMessage `json:"from,omitempty" caddy:"namespace=filewallball.session_stores inline_key=store"`

	// Using a session extends it to its TTL, which is written at most once per
	// tenth of the TTL.
	Sliding bool `json:"sliding,omitempty"`

	// What a session must have to pass; all of these. One that has not is
	// refused.
	Require []Requirement `json:"require,omitempty"`

	// Request headers that the handlers after this one find filled from the
	// record. Those of the client are deleted, whatever becomes of the request,
	// but the identity may be in one of them.
	CopyHeaders []HeaderCopy `json:"copy_headers,omitempty"`

	rules *sessionRules
	from  *from // nil where sessions are records
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers." + sessionDirective,
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision resolves placeholders and defaults, and readies the lookup.
func (s *Handler) Provision(ctx caddy.Context) error {
	for i := range s.Require {
		if err := s.Require[i].provision(); err != nil {
			return err
		}
	}
	var err error
	if s.CopyHeaders, err = resolveCopies(s.CopyHeaders); err != nil {
		return err
	}
	s.SetIdentity(template.New(s.ID))
	s.rules = &sessionRules{require: s.Require, copies: s.CopyHeaders}
	if err := s.provisionFrom(ctx); err != nil {
		return err
	}
	kind := lookup.Kind{
		Directive:    sessionDirective,
		RecordName:   "session",
		Prefix:       lookup.SessionPrefix,
		Family:       cache.Session,
		Sliding:      s.Sliding,
		ExpiresAt:    true,
		HashWithHTTP: true,
		Revocable:    true,
		OnMissing:    lookup.Reaction{Status: http.StatusUnauthorized},
		OnDenied:     lookup.Reaction{Status: http.StatusForbidden},
		OnError:      lookup.Reaction{Status: http.StatusServiceUnavailable},
	}
	if s.from != nil {
		kind.Decoder, kind.KeyTemplate = s.from, s.from.store.KeyTemplate()
	}
	return s.ProvisionLookup(ctx, kind)
}

// Validate checks what Provision only reads.
func (s *Handler) Validate() error {
	if s.ID == "" && s.from == nil {
		return errors.New("there is no identity: want one like {http.request.cookie.session}, or from <store>")
	}
	if _, ok := s.Source().(lookup.Locator); ok {
		return errors.New("source " + s.Source().Name() + " finds files and no sessions: want http or none")
	}
	return s.ValidateReactions()
}

// Causes of a refusal, for the log and for handle_errors.
var (
	errNoIdentity     = errors.New("request has no session identity")
	errNoSession      = errors.New("there is no such session")
	errSessionDenied  = errors.New("session is refused")
	errSessionUnknown = errors.New("nobody can tell about the session")
)

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (s *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	f := lookup.FindingsOf(repl)
	// the identity may be in a header that the session replaces, so it is
	// read before the client's headers go
	id, result, err := s.find(r, repl)
	switch {
	case err != nil:
		// a malformed identity is not even published: it could break a log or
		// a header that it is put into
		f.Session = lookup.Found{Outcome: cache.OutcomeNone}
		return caddyhttp.Error(http.StatusBadRequest, err)
	case id == "":
		f.Session = lookup.Found{Outcome: cache.OutcomeNone}
		return s.OnMissing.Serve(w, r, repl, next, errNoIdentity)
	}

	if result.Outcome == cache.OutcomeError && errors.Is(r.Context().Err(), context.Canceled) {
		return caddyhttp.Error(lookup.StatusClientClosed, context.Canceled)
	}
	var v *sessionVerdict
	if result.OK() {
		if v = s.rules.judge(result.Record); v.unmet != nil {
			result.Outcome = cache.OutcomeDenied
		}
	}
	s.Publish(w.Header(), f, &f.Session, id, &result)
	switch {
	case result.Response != nil:
		if response, ok := result.Response.(lookup.Responder); ok {
			response.Serve(w)
			return nil
		}
	case result.OK():
		s.admit(r, repl, f, id, v)
		return next.ServeHTTP(f.Writer(w), r)
	case result.Outcome == cache.OutcomeAbsent:
		return s.OnMissing.Serve(w, r, repl, next, errNoSession)
	case result.Outcome == cache.OutcomeDenied && v != nil:
		return s.OnDenied.Serve(w, r, repl, next, v.unmet)
	case result.Outcome == cache.OutcomeDenied:
		return s.OnDenied.Serve(w, r, repl, next, errSessionDenied)
	case result.Err != nil:
		return s.OnError.Serve(w, r, repl, next, result.Err)
	}
	// an outcome that nobody here knows is no session either
	return s.OnError.Serve(w, r, repl, next, errSessionUnknown)
}

// find looks up the session that a request means, and deletes the headers that
// are to be the session's. Without an identity, id is empty; a malformed one
// is an error.
func (s *Handler) find(r *http.Request, repl *caddy.Replacer) (id string, result cache.Result, err error) {
	var ids []string
	var req cache.Request
	if s.from != nil {
		ids = s.from.identities(r)
	} else if id = s.ExpandIdentity(r, repl, ""); id != "" {
		req, err = s.Request(r, repl, id)
	}
	if len(s.CopyHeaders) > 0 {
		deleteCopies(r.Header, s.CopyHeaders)
	}
	switch {
	case s.from != nil:
		return s.findFrom(r, repl, ids)
	case id == "" || err != nil:
		return id, cache.Result{}, err
	}
	return id, s.Records().Find(r.Context(), req), nil
}

// admit tells the handlers that follow, and the access log, whose session it
// is. A plain "id" may be that of the session itself, a credential that must
// not get into logs.
func (s *Handler) admit(r *http.Request, repl *caddy.Replacer, f *lookup.Findings, id string, v *sessionVerdict) {
	for i, value := range v.headers {
		if value != "" {
			r.Header[s.CopyHeaders[i].Header] = []string{value}
		}
	}
	if v.user != "" && !(v.byID && v.user == id) {
		f.SetUser(repl, v.user)
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
