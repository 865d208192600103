package lookup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// Lookup is what session_lookup and file_metadata have in common: which
// record a request is about, where it comes from, and what follows when there
// is none.
type Lookup struct {
	// The identity of the record, with placeholders.
	ID string `json:"id,omitempty"`

	// The template of the record's key, with {id} where the identity goes.
	// Default: that of the family. The global key_prefix goes in front. Other
	// placeholders are client input as much as the identity: where both are in
	// a key, it must be clear where one ends, or hash_id must be on.
	Key string `json:"key,omitempty"`

	// Put the hex SHA-256 of the identity into the key instead of itself.
	// Default: only for sessions with an http source.
	HashID *bool `json:"hash_id,omitempty"`

	// How long a record from the source is kept. Default: that of the family.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// How long an absence or a refusal is kept. Default 30s.
	NegativeTTL caddy.Duration `json:"negative_ttl,omitempty"`

	// Where a record comes from when no cache has it. Default: nowhere, the
	// application writes the records by itself.
	SourceRaw json.RawMessage `json:"source,omitempty" caddy:"namespace=filewallball.sources inline_key=source"`

	// What follows when there is no record.
	OnMissing *Reaction `json:"on_missing,omitempty"`

	// What follows when the record is a refusal.
	OnDenied *Reaction `json:"on_denied,omitempty"`

	// What follows when nobody could tell.
	OnError *Reaction `json:"on_error,omitempty"`

	// How long after its time a record is still used where nobody can tell
	// what is true now; 0 is not at all. Default: 0 for sessions, 5m for files.
	StaleIfError *caddy.Duration `json:"stale_if_error,omitempty"`

	// What records from the source are filed under, to be dropped together by
	// lookup_invalidate or a purge: templates with {id}, and with the fields
	// of the record as placeholders of this lookup. Needs a source.
	Tags []string `json:"tags,omitempty"`

	// The name of this route in statistics. Default: made of the directive's
	// name and position.
	Name string `json:"name,omitempty"`

	app      App
	kind     Kind
	debug    debugLog
	policy   *Policy
	records  *cache.Lookup
	source   cache.Source
	identity template.Template // of the ID
	key      cache.KeyTemplate
	hashID   bool
	// keyVaries tells that the key has placeholders other than {id}.
	keyVaries bool
}

// Kind is what differs between the lookups.
type Kind struct {
	Directive  string
	RecordName string // what it looks up, for the log
	Family     string
	Prefix     string // of its placeholders
	// options that only one of them has
	Sliding, ExpiresAt bool
	HashWithHTTP       bool
	// Decoder reads values that are not records, nil where they are; their keys
	// have KeyTemplate where nothing else is configured.
	Decoder     cache.Decoder
	KeyTemplate string
	// revocable takes no copy of a record that may be out of date
	Revocable    bool
	StaleIfError time.Duration
	OnMissing    Reaction
	OnDenied     Reaction
	OnError      Reaction
}

// ProvisionLookup prepares the lookup: its name, family, source, key and tags.
func (l *Lookup) ProvisionLookup(ctx caddy.Context, kind Kind) error {
	app, err := AppOf(ctx)
	if err != nil {
		return err
	}
	l.app, l.policy, l.kind = app, app.Policy(), kind
	l.debug = newDebugLog(ctx, "looked up "+kind.RecordName)
	if err := l.provisionSource(ctx); err != nil {
		return err
	}
	family := l.policy.Family(kind.Family)
	if err := l.provisionKey(family, kind); err != nil {
		return err
	}
	for _, r := range []struct {
		reaction *(*Reaction)
		standard Reaction
	}{{&l.OnMissing, kind.OnMissing}, {&l.OnDenied, kind.OnDenied}, {&l.OnError, kind.OnError}} {
		if *r.reaction == nil {
			*r.reaction = &r.standard
		}
	}
	options := cache.LookupOptions{
		Name:          app.NameRoute(l.Name, kind.Directive),
		Family:        family.Name,
		TTL:           family.TTL,
		NegativeTTL:   cmp.Or(time.Duration(l.NegativeTTL), cache.DefaultNegativeTTL),
		Sliding:       kind.Sliding,
		ExpiresAt:     kind.ExpiresAt,
		KeyPrefix:     l.keyBegins(),
		Strict:        kind.Revocable,
		StaleIfError:  kind.StaleIfError,
		Source:        l.source,
		Decoder:       kind.Decoder,
		LookupTimeout: l.policy.LookupTimeout,
		MaxValueSize:  l.policy.MaxValueSize,
	}
	if l.TTL != 0 {
		options.TTL = time.Duration(l.TTL)
	}
	if l.StaleIfError != nil {
		options.StaleIfError = time.Duration(*l.StaleIfError)
	}
	if s, ok := l.source.(interface{ LoadTimeout() time.Duration }); ok {
		options.LoadTimeout = s.LoadTimeout()
	}
	if s, ok := l.source.(interface{ MaxLoads() int }); ok {
		options.MaxConcurrent = s.MaxLoads()
	}
	if len(l.Tags) > 0 {
		if l.source == nil {
			return errors.New("tag needs a source: what your application writes by itself is not filed under tags")
		}
		tagger, err := newTagger(l.Tags, kind.Prefix)
		if err != nil {
			return err
		}
		options.Tags = tagger.tags
	}
	if l.records, err = app.Cache().NewLookup(options); err != nil {
		return err
	}
	app.Lookups().add(options.Name, l)
	return nil
}

func (l *Lookup) provisionSource(ctx caddy.Context) error {
	if len(l.SourceRaw) == 0 {
		return nil
	}
	ctx = ctx.WithValue(source.IdentityCtxKey, l.ID)
	mod, err := ctx.LoadModule(l, "SourceRaw")
	if err != nil {
		return fmt.Errorf("loading source: %w", err)
	}
	s, ok := mod.(cache.Source)
	if !ok {
		return fmt.Errorf("module %T is not a source of records", mod)
	}
	l.source = s
	return nil
}

func (l *Lookup) provisionKey(family cache.Family, kind Kind) error {
	template := cmp.Or(l.Key, kind.KeyTemplate, family.KeyTemplate)
	if resolved, fixed := atProvision(template); fixed {
		template = resolved
	} else {
		l.keyVaries = true
	}
	key, err := cache.ParseKeyTemplate(template)
	if err != nil {
		return err
	}
	if !l.keyVaries {
		key[0] = l.policy.KeyPrefix + key[0]
	}
	l.key = key
	if l.HashID != nil {
		l.hashID = *l.HashID
	} else if l.source != nil {
		l.hashID = kind.HashWithHTTP && l.source.Name() == "http"
	}
	return nil
}

// ValidateReactions checks what is answered where there is no record.
func (l *Lookup) ValidateReactions() error {
	for _, r := range []struct {
		name     string
		reaction *Reaction
	}{{"on_missing", l.OnMissing}, {"on_denied", l.OnDenied}, {"on_error", l.OnError}} {
		if err := r.reaction.validate(); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// keyBegins is what all keys of the lookup begin with.
func (l *Lookup) keyBegins() string {
	if !l.keyVaries {
		return l.key[0]
	}
	fixed := l.key[0]
	if i := strings.IndexAny(fixed, `{\`); i >= 0 {
		fixed = fixed[:i]
	}
	return l.policy.KeyPrefix + fixed
}

// Locator is a source that finds the record's place by more than the identity.
type Locator interface {
	// Locate returns what stands for the identity in the key, and what the
	// source will be asked. ok is false where this source has nothing to say
	// about the request, whatever a cache knows. Without a request, r is nil.
	Locate(r *http.Request, repl *caddy.Replacer, id string) (keyID string, req cache.Request, ok bool)
}

// ErrNotLocated says that a source has nothing to say about an identity.
var ErrNotLocated = errors.New("the source has nothing to say about this identity")

// Request says what to look up for an identity that is not empty; r is nil
// where no request asks. The error wraps [cache.ErrMalformedIdentity] or
// errNotLocated.
func (l *Lookup) Request(r *http.Request, repl *caddy.Replacer, id string) (cache.Request, error) {
	if err := cache.CheckIdentity(id); err != nil {
		return cache.Request{}, err
	}
	keyID, req := id, cache.Request{ID: id}
	if loc, ok := l.source.(Locator); ok {
		if keyID, req, ok = loc.Locate(r, repl, id); !ok {
			return cache.Request{}, ErrNotLocated
		}
	}
	key := l.key
	if l.keyVaries {
		key = make(cache.KeyTemplate, len(l.key))
		for i, part := range l.key {
			key[i] = repl.ReplaceAll(part, "")
			// what placeholders gave is client input as much as the identity
			if err := cache.CheckIdentity(key[i]); err != nil {
				return cache.Request{}, err
			}
		}
		// the prefix is not for a replacer: it may hold braces of its own
		key[0] = l.policy.KeyPrefix + key[0]
	}
	req.Key = key.Key(cache.KeyIdentity(keyID, l.hashID))
	return req, nil
}

// App is the app that the lookup belongs to.
func (l *Lookup) App() App { return l.app }

// Records is how the lookup finds records in the cache.
func (l *Lookup) Records() *cache.Lookup { return l.records }

// Source is where records come from; nil where the application writes them.
func (l *Lookup) Source() cache.Source { return l.source }

// Decoding says how values are decoded, "" where they are records. Two lookups
// with one key must say the same.
func (l *Lookup) Decoding() string {
	if l.kind.Decoder == nil {
		return ""
	}
	return l.kind.Decoder.ID()
}

// KeyVaries reports whether the key has placeholders other than {id}.
func (l *Lookup) KeyVaries() bool { return l.keyVaries }

// SetIdentity sets the template of the identity.
func (l *Lookup) SetIdentity(identity template.Template) { l.identity = identity }

// ExpandIdentity returns the identity of a request; empty replaces what has no
// value.
func (l *Lookup) ExpandIdentity(r *http.Request, repl *caddy.Replacer, empty string) string {
	return l.identity.Expand(r, repl, empty)
}

// StatusClientClosed is what Caddy logs for a client that did not wait.
const StatusClientClosed = 499

// Responder is an answer of a source that goes to the client as it is.
type Responder interface{ Serve(w http.ResponseWriter) }

// Reaction is what follows when a lookup finds nothing usable: an HTTP error
// with a status, a redirect, or the next handler.
type Reaction struct {
	// The status of the error, 400 to 599.
	Status int `json:"status,omitempty"`

	// Where to send the client, with placeholders (302). In a query they
	// should be escaped ones, such as {http.request.uri_escaped}, or {%uri} in
	// a Caddyfile. What does not begin with // cannot become a URL that does,
	// so /login{http.request.uri.path} stays on this site.
	Redirect string `json:"redirect,omitempty"`

	// Go on as if there were no lookup.
	Continue bool `json:"continue,omitempty"`
}

func (a *Reaction) validate() error {
	set := 0
	for _, is := range []bool{a.Status != 0, a.Redirect != "", a.Continue} {
		if is {
			set++
		}
	}
	if set != 1 {
		return errors.New("want exactly one of status, redirect and continue")
	}
	if a.Status != 0 && (a.Status < 400 || a.Status > 599) {
		return fmt.Errorf("status %d is not an error: want 400 to 599", a.Status)
	}
	return nil
}

// Serve does what the reaction says. cause is for the log; it never holds an
// identity.
func (a *Reaction) Serve(w http.ResponseWriter, r *http.Request, repl *caddy.Replacer, next caddyhttp.Handler, cause error) error {
	switch {
	case a.Continue:
		return next.ServeHTTP(w, r)
	case a.Redirect != "":
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Location", a.location(repl))
		w.WriteHeader(http.StatusFound)
		return nil
	}
	// Caddy would find out the trace for every single one
	return caddyhttp.Error(a.Status, caddyhttp.HandlerError{Err: cause, Trace: "handlers.(*Reaction).serve"})
}

// location is where to send the client. Of what placeholders give, which is
// client input, it escapes what cannot stand in a URL.
func (a *Reaction) location(repl *caddy.Replacer) string {
	location := repl.ReplaceAll(a.Redirect, "")
	if rest := strings.TrimLeft(location, `/\`); len(location)-len(rest) > 1 && !strings.HasPrefix(a.Redirect, "//") {
		// browsers take // and /\ for the beginning of another host
		location = "/" + rest
	}
	var b strings.Builder
	for _, c := range []byte(location) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// atProvision replaces the placeholders that do not change from request to
// request: environment, files and the system. fixed tells that there are no
// others but {id}.
func atProvision(template string) (resolved string, fixed bool) {
	fixed = true
	resolved, _ = caddy.NewReplacer().ReplaceFunc(template, func(name string, value any) (any, error) {
		prefix, _, _ := strings.Cut(name, ".")
		switch prefix {
		case "env", "file", "system":
			return value, nil
		}
		placeholder := "{" + name + "}"
		fixed = fixed && placeholder == cache.IDPlaceholder
		return placeholder, nil
	})
	return resolved, fixed
}
