// The check for lookups that share keys but ask different questions, while a Caddyfile
// is read: its error names the lines of both.

package lookup

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

// placesState is the key of the lookups of one Caddyfile in its state.
const placesState = AppID + ".places"

// preparer is a source that has its fingerprint before it is provisioned.
type preparer interface {
	Fingerprinter
	// Prepare does the part of provisioning that the fingerprint needs.
	Prepare(source.Asker) error
}

// CheckPlace returns an error for a lookup that shares keys with an earlier one of the
// same Caddyfile but asks another question. In doubt it returns nil, because
// provisioning checks again with all information. format identifies how values are read;
// "" means as records.
func (l *Lookup) CheckPlace(h httpcaddyfile.Helper, kind Kind, format string) error {
	mine, ok := l.askedWhereRead(kind, format)
	if !ok {
		return nil
	}
	h.Reset()
	h.Next()
	mine.place = fmt.Sprintf("%s (%s:%d) '%s'", kind.Directive, h.File(), h.Line(), l.Name)
	places, _ := h.State[placesState].([]*asked)
	for _, other := range places {
		if err := mine.conflict(other); err != nil {
			return h.WrapErr(err)
		}
	}
	h.State[placesState] = append(places, mine)
	return nil
}

// askedWhereRead describes a lookup that is not provisioned. ok is false if only
// provisioning can describe it, or will return an error.
func (l *Lookup) askedWhereRead(kind Kind, format string) (mine *asked, ok bool) {
	family := cache.Family{}
	for _, f := range cache.Families() {
		if f.Name == kind.Family {
			family = f
		}
	}
	for _, placeholder := range []string{"{env.", "{file.", "{system."} {
		// the configuration may be loaded on another machine
		if strings.Contains(l.Key+string(l.SourceRaw)+strings.Join(l.ID, ""), placeholder) {
			return nil, false
		}
	}
	q := question{family: kind.Family, parts: max(1, len(l.ID)), decoding: format}
	var prepared preparer
	var name string
	if len(l.SourceRaw) > 0 {
		if prepared, name = l.prepareSource(kind); prepared == nil {
			return nil, false
		}
		q.hash = kind.HashWithHTTP && name == "http"
	}
	if l.HashID != nil {
		q.hash = *l.HashID
	}
	varies := false
	if prepared != nil {
		q.sourceID = l.sourceIDOf(name, prepared.Fingerprint(), q.hash)
		v, ok := prepared.(Varying)
		varies = ok && len(v.RequestTemplates()) > 0
	}
	text, err := l.templateOfKey(&kind, family, q.sourceID)
	if err != nil {
		return nil, false
	}
	key, err := newKeyTemplate("", text, q.parts, q.hash)
	key.suffix = varies
	return &asked{key: key, question: q, origin: originOf(l.ID), gated: kind.Gated}, err == nil
}

// prepareSource returns the source before it is provisioned, or nil.
func (l *Lookup) prepareSource(kind Kind) (prepared preparer, name string) {
	var fields struct{ Source string }
	if json.Unmarshal(l.SourceRaw, &fields) != nil {
		return nil, ""
	}
	info, err := caddy.GetModule("filewallball.sources." + fields.Source)
	if err != nil {
		return nil, ""
	}
	module := info.New()
	prepared, ok := module.(preparer)
	if !ok || json.Unmarshal(l.SourceRaw, module) != nil ||
		prepared.Prepare(source.Asker{Identity: l.ID, Session: kind.Family == cache.Session, Pass: l.passes()}) != nil {
		return nil, ""
	}
	return prepared, fields.Source
}
