// Where in a Caddyfile lookups stand, so that two which share keys but ask
// different questions are named by their lines.

package lookup

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
)

// placesState is the key of the lookups of one Caddyfile in its state.
const placesState = AppID + ".places"

// CheckPlace returns an error for a lookup that shares keys with an earlier one
// of the same Caddyfile but asks something else, with the lines of both. In
// doubt it returns nil, because provisioning checks again with all information.
// format describes how values are read, "" as records.
func (l *Lookup) CheckPlace(h httpcaddyfile.Helper, kind Kind, format string) error {
	family := cache.Family{}
	for _, f := range cache.Families() {
		if f.Name == kind.Family {
			family = f
		}
	}
	text := cmp.Or(l.Key, kind.DefaultKey, family.KeyTemplate)
	source, name := comparableSource(l.SourceRaw)
	if strings.Contains(text+source, "{env.") || strings.Contains(text+source, "{file.") || name == "file_system" {
		return nil // what these come to is known later
	}
	hash := kind.HashWithHTTP && name == "http"
	if l.HashID != nil {
		hash = *l.HashID
	}
	parts := max(1, len(l.ID))
	key, err := newKeyTemplate("", text, parts, hash)
	if err != nil {
		return nil // which provisioning says
	}
	key.suffix = strings.Contains(source, "{http.") // at most
	h.Reset()
	h.Next()
	mine := &asked{
		place:    fmt.Sprintf("%s (%s:%d) '%s'", kind.Directive, h.File(), h.Line(), l.Name),
		key:      key,
		question: question{sourceID: source, family: kind.Family, hash: hash, parts: parts, decoding: format},
	}
	places, _ := h.State[placesState].([]*asked)
	for _, other := range places {
		if err := mine.conflict(other); err != nil {
			return h.WrapErr(err)
		}
	}
	h.State[placesState] = append(places, mine)
	return nil
}

// comparableSource is what of a source's configuration can change its answers.
func comparableSource(raw json.RawMessage) (config, name string) {
	var fields map[string]any
	if len(raw) == 0 || json.Unmarshal(raw, &fields) != nil {
		return "", ""
	}
	name, _ = fields["source"].(string)
	for _, field := range []string{"timeout", "max_concurrent", "cache_control"} {
		delete(fields, field)
	}
	text, _ := json.Marshal(fields) // in the order of names
	return string(text), name
}
