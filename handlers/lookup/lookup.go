package lookup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// Lookup is the common part of session_lookup and file_metadata: which record a
// request is about, where it comes from, and how to respond when there is none.
type Lookup struct {
	// The identity of the record, with placeholders: a text, or an array of
	// texts for an identity of several parts.
	ID Identity `json:"id,omitempty"`

	// The template of the record's key, with {id} in place of the identity, or
	// {id.1}, {id.2} … for its parts. {source} stands for a fingerprint of the
	// source. Default: the key of the family. The global key_prefix is put in
	// front. In the values of other placeholders, "%" and ":"
	// are percent-encoded.
	Key string `json:"key,omitempty"`

	// Put the hex SHA-256 of the identity into the key instead of itself.
	// Default: only for sessions with an http source.
	HashID *bool `json:"hash_id,omitempty"`

	// How long a record from the source is stored, as a duration. Default: the TTL
	// of the family.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// How long an absence or a refusal is stored, as a duration; 0 means not at
	// all. Default: 0 for sessions, so that a login takes effect at once, and 30s
	// for files.
	NegativeTTL *caddy.Duration `json:"negative_ttl,omitempty"`

	// Where a record comes from when no cache has it. Default: no source; the
	// application writes the records itself.
	SourceRaw json.RawMessage `json:"source,omitempty" caddy:"namespace=filewallball.sources inline_key=source"`

	// The response when there is no record. Default: 401 for sessions, 404 for
	// files.
	OnMissing *Reaction `json:"on_missing,omitempty"`

	// The response when the record is a refusal. Default: 403.
	OnDenied *Reaction `json:"on_denied,omitempty"`

	// The response when the lookup failed. Default: 503 for sessions and for files
	// with rewrite; otherwise files continue with the next handler.
	OnError *Reaction `json:"on_error,omitempty"`

	// How long after its expiry a record is still used if the lookup would
	// otherwise fail, as a duration; 0 means not at all. Default: 0 for sessions,
	// 5m for files.
	StaleIfError *caddy.Duration `json:"stale_if_error,omitempty"`

	// The tags of records from the source, by which lookup_invalidate or a purge
	// drops records together: templates with {id}, and with the fields of the
	// record as placeholders of this lookup. A tag without fields is also a tag of
	// absences. In a lookup that hashes identities, {id} is the hash. Needs a
	// source. Default: no tags.
	Tags []string `json:"tags,omitempty"`

	// The name of this route in statistics. Default: made of the directive's name
	// and position.
	Name string `json:"name,omitempty"`

	app      App
	kind     Kind
	debug    debugLog
	policy   *Policy
	records  *cache.Lookup
	source   cache.Source
	varying  []varyingValue // the values besides the identity that the source is sent
	identity IdentityReader
	key      keyTemplate
	sourceID string         // the fingerprint of the source, as records bear it; "" without one
	keyText  string         // the template of the key, as configured
	written  template.Split // the key as it is written in lookup_invalidate
	mayBeOwn bool           // whether the key of some identity may be one of the plugin's own
}

// varyingValue is a value of the request that the source is sent.
type varyingValue struct {
	template template.Template
	ignored  bool // not part of the key
}

// Kind has what differs between the directives that look records up.
type Kind struct {
	// Directive names the lookup in errors and in Cache-Status.
	Directive string
	// RecordName is what is looked up, for the log.
	RecordName string
	// Family of the records.
	Family string
	// Prefix of the lookup's placeholders.
	Prefix string
	// FromRequest reports that an identity must have a placeholder of the request.
	FromRequest bool
	// AnyPart reports that some parts of an identity may be empty.
	AnyPart bool
	// Gated reports that records must meet requirements, so that a record of another
	// application under the same key does not suffice.
	Gated bool
	// DefaultKey is the template of keys where none is configured. Default:
	// that of the family.
	DefaultKey string
	// Decoder reads values in the application's own format; nil if they are records.
	Decoder cache.Decoder
	// Signed reports that clients cannot choose an identity, because the application
	// signs or encrypts it.
	Signed bool
	// HashWithHTTP reports that identities are hashed by default with source http.
	HashWithHTTP bool
	// Sliding and ExpiresAt are options of the cache.
	Sliding, ExpiresAt bool
	// Expiry is the field with the end of a record.
	Expiry cache.Expiry
	// Revocable reports that near copies that may be out of date must not be used.
	Revocable bool
	// Memos reports that the handler sets memos; see [cache.Record.SetMemo].
	Memos bool
	// NegativeTTL, StaleIfError, OnMissing, OnDenied and OnError are defaults.
	NegativeTTL  time.Duration
	StaleIfError time.Duration
	OnMissing    Reaction
	OnDenied     Reaction
	OnError      Reaction
}

// ProvisionLookup resolves defaults and placeholders and loads the source. It returns an
// error if another lookup of the configuration shares keys but asks another question.
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
	if _, ok := l.source.(Locator); ok && len(l.ID) == 0 {
		l.ID = Identity{"{http.request.uri.path}"}
	}
	cookies, ok := l.source.(interface{ AllCookies() bool })
	part := template.New
	if ok && cookies.AllCookies() {
		part = template.NewAllCookies
	}
	l.identity = newIdentityReader(l.ID, kind.AnyPart, part).On(ctx)
	family := l.policy.Family(kind.Family)
	if err := l.provisionKey(family); err != nil {
		return err
	}
	if err := l.checkTemplates(ctx); err != nil {
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
	options, err := l.options(family, ctx.Slogger())
	if err != nil {
		return err
	}
	if l.records, err = app.Cache().NewLookup(options); err != nil {
		return err
	}
	return app.Lookups().add(ctx.Logger(), options.Name, l)
}

// options returns the lookup's options for the cache.
func (l *Lookup) options(family cache.Family, logger *slog.Logger) (cache.LookupOptions, error) {
	options := cache.LookupOptions{
		Name:          l.app.NameRoute(l.Name, l.kind.Directive),
		Family:        family.Name,
		TTL:           family.TTL,
		NegativeTTL:   l.kind.NegativeTTL,
		Sliding:       l.kind.Sliding,
		ExpiresAt:     l.kind.ExpiresAt,
		Expiry:        l.kind.Expiry,
		KeyPrefix:     l.key.begins(),
		Strict:        l.kind.Revocable,
		Memos:         l.kind.Memos,
		StaleIfError:  l.kind.StaleIfError,
		Source:        l.source,
		SourceID:      l.sourceID,
		Decoder:       l.kind.Decoder,
		LookupTimeout: l.policy.LookupTimeout,
		MaxValueSize:  l.policy.MaxValueSize,
		Logger:        logger,
	}
	if l.TTL != 0 {
		options.TTL = time.Duration(l.TTL)
	}
	if l.NegativeTTL != nil {
		options.NegativeTTL = time.Duration(*l.NegativeTTL)
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
			return options, errors.New("tag needs a source: records that your application writes have no tags")
		}
		tagger, err := newTagger(l.Tags, l.kind.Prefix, l.key.hash)
		if err != nil {
			return options, err
		}
		options.Tags = tagger.tags
		// {id} is another for the same key where the template of keys is another
		options.TagsID = fmt.Sprintf("%q %q %q %t", l.Tags, l.keyText, l.kind.Prefix, l.key.hash)
	}
	return options, nil
}

// provisionSource loads the source, if there is one.
func (l *Lookup) provisionSource(ctx caddy.Context) error {
	if len(l.SourceRaw) == 0 {
		return nil
	}
	ctx = ctx.WithValue(source.AskerCtxKey, source.Asker{Identity: l.ID, Session: l.kind.Family == cache.Session, Pass: l.passes()})
	mod, err := ctx.LoadModule(l, "SourceRaw")
	if err != nil {
		return fmt.Errorf("loading source: %w", err)
	}
	s, ok := mod.(cache.Source)
	if !ok {
		return fmt.Errorf("module %T is not a source of records", mod)
	}
	l.source = s
	if v, ok := s.(Varying); ok {
		for i, text := range v.RequestTemplates() {
			l.varying = append(l.varying, varyingValue{template.New(text), v.IgnoredInKey(i)})
		}
	}
	return nil
}

// passes reports whether a reaction passes the answer of the source to the client.
func (l *Lookup) passes() bool {
	for _, r := range []*Reaction{l.OnMissing, l.OnDenied, l.OnError} {
		if r != nil && r.Pass {
			return true
		}
	}
	return false
}

// provisionKey sets the key and the fingerprint of the source.
func (l *Lookup) provisionKey(family cache.Family) error {
	hash := l.kind.HashWithHTTP && l.source != nil && l.source.Name() == "http"
	if l.HashID != nil {
		hash = *l.HashID
	}
	if l.source != nil {
		description := string(l.SourceRaw)
		if f, ok := l.source.(Fingerprinter); ok {
			description = f.Fingerprint()
		}
		l.sourceID = l.sourceIDOf(l.source.Name(), description, hash)
	}
	text, err := l.templateOfKey(&l.kind, family, l.sourceID)
	if err != nil {
		return err
	}
	l.keyText = text
	if l.key, err = newKeyTemplate(l.policy.KeyPrefix, text, max(1, len(l.ID)), hash); err != nil {
		return err
	}
	l.key.foreign = l.kind.Decoder != nil
	if l.written, err = l.writtenKey(); err != nil {
		return fmt.Errorf("identity '%s': %w", strings.Join(l.ID, " "), err)
	}
	l.key.suffix = len(l.varying) > 0
	l.mayBeOwn = strings.HasPrefix(l.policy.KeyPrefix+cache.OwnPrefix, l.key.begins())
	switch {
	case l.key.begins() == "" && !l.kind.Gated:
		return fmt.Errorf("key '%s' has no text before the identity, so a client could name any key of the store: "+
			"write one like %s", text, family.KeyTemplate)
	case l.key.touchesOwn(l.policy.KeyPrefix):
		return fmt.Errorf("key '%s' begins with %s, which is for the plugin's own keys: write another text", text, cache.OwnPrefix)
	}
	return nil
}

// ValidateReactions checks the reactions of the lookup.
func (l *Lookup) ValidateReactions() error {
	for _, r := range []struct {
		name     string
		reaction *Reaction
	}{{"on_missing", l.OnMissing}, {"on_denied", l.OnDenied}, {"on_error", l.OnError}} {
		if err := r.reaction.Validate(); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// NameError adds the name of the route to an error of its provisioning, because Caddy
// names the module only. The default name of a route in a Caddyfile has its line.
func (l *Lookup) NameError(err error) error {
	if err == nil || l.Name == "" {
		return err
	}
	return fmt.Errorf("'%s': %w", l.Name, err)
}

// asked describes the lookup, for comparison with the others of its configuration.
func (l *Lookup) asked(name string) *asked {
	return &asked{
		place:  l.kind.Directive + " '" + name + "'",
		key:    l.key,
		signed: l.kind.Signed,
		origin: originOf(l.ID),
		gated:  l.kind.Gated,
		keeping: keeping{
			ttl:          cmp.Or(time.Duration(l.TTL), l.policy.Family(l.kind.Family).TTL),
			cacheControl: l.cacheControl(),
			tags:         strings.Join(slices.Sorted(slices.Values(l.Tags)), "\n"),
		},
		question: question{
			sourceID: l.sourceID, family: l.kind.Family, hash: l.key.hash, parts: max(1, len(l.ID)), decoding: l.decoding(),
		},
	}
}

// cacheControl is what the source makes of the Cache-Control of an answer.
func (l *Lookup) cacheControl() string {
	if s, ok := l.source.(interface{ IgnoresCacheControl() bool }); ok && s.IgnoresCacheControl() {
		return "ignore"
	}
	return ""
}

// decoding identifies how values are read; "" means as records.
func (l *Lookup) decoding() string {
	if l.kind.Decoder == nil {
		return ""
	}
	return l.kind.Decoder.ID()
}

// Locator is a source that uses more than the identity to find a record.
type Locator interface {
	// Locate returns the text that replaces the identity in the key, and the request
	// for the source. ok is false if the source does not handle such a request. r is
	// nil outside a request.
	Locate(r *http.Request, repl *caddy.Replacer, id string) (keyID string, req cache.Request, ok bool)
}

// ErrNotLocated says that the source does not handle an identity.
var ErrNotLocated = errors.New("the source does not handle this identity")

// Request returns what to look up for an identity; r is nil outside a request.
// The error wraps [cache.ErrMalformedIdentity] or is [ErrNotLocated].
func (l *Lookup) Request(r *http.Request, repl *caddy.Replacer, id Identified) (cache.Request, error) {
	if err := l.identity.Check(id); err != nil {
		return cache.Request{}, err
	}
	keyID, req := "", cache.Request{ID: id.ID, Parts: id.Parts}
	if loc, ok := l.source.(Locator); ok {
		if keyID, req, ok = loc.Locate(r, repl, id.ID); !ok {
			return cache.Request{}, ErrNotLocated
		}
	}
	var inKey []string
	if l.varying != nil {
		req.Values = make([]string, len(l.varying))
		inKey = make([]string, 0, len(l.varying))
		for i, v := range l.varying {
			value := v.template.Expand(r, repl, "")
			// a key has only its hash, and URIs are long
			if err := cache.CheckValue(value, MaxIdentity); err != nil {
				return cache.Request{}, err
			}
			req.Values[i] = value
			if !v.ignored {
				inKey = append(inKey, value)
			}
		}
	}
	var err error
	req.Key, err = l.key.key(r, repl, keyID, id, inKey)
	if err == nil && l.mayBeOwn && l.policy.IsOwn(req.Key) {
		return cache.Request{}, fmt.Errorf("%w: its key would be one of the plugin's own", cache.ErrMalformedIdentity)
	}
	return req, err
}

// App is the app that the lookup belongs to.
func (l *Lookup) App() App { return l.app }

// Records returns the lookup in the cache.
func (l *Lookup) Records() *cache.Lookup { return l.records }

// Source returns the source of records; nil if the application writes them.
func (l *Lookup) Source() cache.Source { return l.source }

// KeyVaries reports whether the key depends on more of a request than its identity.
func (l *Lookup) KeyVaries() bool { return l.key.varies || l.varying != nil }
