// Sessions in an application's own store: from <store>.

package session

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/session/stores"
)

// from is the store of an application's sessions.
type from struct {
	store stores.Store
	id    string // of its decoder
	log   *undecodableLog
}

// unmarshalFrom reads
//
//	from <store> {
//		cookie <name>
//		secret <secret...>
//		key <template>
//		…
//	}
func (s *Handler) unmarshalFrom(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("from takes a store, like: from express { … }")
	}
	name := d.Val()
	if _, err := caddy.GetModule(stores.Namespace + "." + name); err != nil {
		return d.Errf("from: there is no store '%s': want one of %s", name, strings.Join(knownStores(), ", "))
	}
	module, err := caddyfile.UnmarshalModule(d, stores.Namespace+"."+name)
	if err != nil {
		return err
	}
	if _, ok := module.(stores.Store); !ok {
		return d.Errf("module %s is not a store of sessions", name)
	}
	s.FromRaw = caddyconfig.JSONModuleObject(module, "store", name, nil)
	return nil
}

// knownStores are the names that from takes.
func knownStores() (names []string) {
	for _, module := range caddy.GetModules(stores.Namespace) {
		names = append(names, module.ID.Name())
	}
	slices.Sort(names)
	return names
}

// provisionFrom provisions the store, if there is one, and refuses the options
// that cannot be combined with it.
func (s *Handler) provisionFrom(ctx caddy.Context) error {
	if len(s.FromRaw) == 0 {
		return nil
	}
	switch {
	case len(s.ID) > 0:
		return errors.New("from finds the session by its cookie: leave out the identity")
	case len(s.SourceRaw) > 0:
		return errors.New("from and source exclude each other: the application alone writes these records")
	case s.HashID != nil && *s.HashID:
		return errors.New("from and hash_id exclude each other: the application's keys are not hashed")
	}
	app, err := lookup.AppOf(ctx)
	if err != nil {
		return err
	}
	if _, ok := app.Cache().Store().(cache.RawReader); !ok {
		return fmt.Errorf("from reads sessions that an application keeps in Redis, and the store here is %s: "+
			"put redis <address> into the global option filewallball", app.Cache().Store().Name())
	}
	module, err := ctx.LoadModule(s, "FromRaw")
	if err != nil {
		return fmt.Errorf("from: %w", err)
	}
	store, ok := module.(stores.Store)
	if !ok {
		return fmt.Errorf("from: module %T is not a store of sessions", module)
	}
	if k, ok := store.(interface{ HasKey() bool }); ok && k.HasKey() && s.Key != "" {
		return errors.New("key is given twice: in the block of from, and beside it")
	}
	s.from = &from{store: store, id: string(module.(caddy.Module).CaddyModule().ID), log: newUndecodableLog(ctx.Logger())}
	if v, ok := store.(stores.Variant); ok {
		s.from.id += " " + v.Variant()
	}
	if len(s.Require) == 0 && (s.OnMissing == nil || !s.OnMissing.Continue) {
		ctx.Logger().Warn("most applications keep sessions of visitors who are not logged in as well, and without a require they are let in: "+
			"name the field that is set at login, like: require "+s.userFields()[0], zap.String("name", s.Name))
	}
	return nil
}

// userFields are the fields with the user of a session: those of the store
// first.
func (s *Handler) userFields() []string {
	if s.from != nil {
		if login, ok := s.from.store.(stores.Login); ok {
			return append(slices.Clone(login.UserFields()), userFields...)
		}
	}
	return userFields
}

// ID identifies how values are decoded.
func (f *from) ID() string { return f.id }

// Decode decodes a session into a record.
func (f *from) Decode(raw cache.Raw) (string, time.Time, error) {
	session, err := f.store.Decode(raw)
	return session.JSON, session.Expires, err
}

// findFrom looks up the sessions of these ids, in order, until one exists. Without ids,
// id is empty and the result is zero.
func (s *Handler) findFrom(r *http.Request, repl *caddy.Replacer, ids []string) (id string, result cache.Result, err error) {
	for _, id = range ids {
		req, err := s.Request(r, repl, lookup.Identified{ID: id})
		if err != nil {
			return "", cache.Result{}, err
		}
		result = s.Find(r.Context(), req)
		if errors.Is(result.Err, cache.ErrInvalidRecord) {
			s.from.log.failed(id, s.Records().Name(), s.from.id, result.Err)
		} else if result.Err == nil {
			s.from.log.succeeded(id, s.Records().Name(), s.from.id)
		}
		if result.Outcome != cache.OutcomeAbsent {
			break
		}
	}
	return id, result, nil
}

// identities returns the ids in the request that can be looked up.
func (f *from) identities(r *http.Request) []string {
	ids := f.store.Identities(r)
	kept := ids[:0]
	for _, id := range ids {
		if id != "" && cache.CheckIdentity(id) == nil && len(kept) < stores.MaxCookies {
			kept = append(kept, id)
		}
	}
	return kept
}

// Interface guard
var _ cache.Decoder = (*from)(nil)
