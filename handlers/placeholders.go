// What a lookup found, as placeholders for the handlers after it.

package handlers

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
)

// found is what the last lookup of its kind in a request came to.
type found struct {
	outcome cache.Outcome
	id      string
	record  *cache.Record
}

// publish makes a lookup's result readable under prefix ("http.session."):
// its outcome, its id, and the fields of its record by their path. A later
// lookup of the same kind in the same request replaces it.
func publish(r *http.Request, repl *caddy.Replacer, prefix string, f found) {
	if earlier, ok := caddyhttp.GetVar(r.Context(), prefix).(*found); ok {
		*earlier = f
		return
	}
	caddyhttp.SetVar(r.Context(), prefix, &f)
	repl.Map(func(name string) (any, bool) {
		path, ok := strings.CutPrefix(name, prefix)
		if !ok {
			return nil, false
		}
		switch path {
		case "outcome":
			return string(f.outcome), true
		case "id":
			return f.id, true
		}
		// what there is not is empty, not left standing as {…} in the output
		if f.record == nil {
			return "", true
		}
		value, _ := f.record.Field(path)
		return value.Text(), true
	})
}
