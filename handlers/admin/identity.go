// Records that are named by a lookup and an identity, because their keys may contain a
// hash of it.

package admin

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

var errKeyVaries = errors.New("the route's key has placeholders of a request, so an identity is not enough: want the whole key")

// identityKeys returns the keys of an identity in the lookups of a route. There are
// several if lookups of that name have different keys.
func identityKeys(app lookup.App, q *wire.Identity) ([]string, error) {
	if q.Route == "" || q.ID == "" {
		return nil, refuse(http.StatusBadRequest, "route or id is missing: "+recordWants)
	}
	lookups := app.Lookups().Named(q.Route)
	if len(lookups) == 0 {
		return nil, unknownRoute(app.Lookups().Names())
	}
	repl := siteReplacer(q.Root, q.FS)
	var keys []string
	for _, l := range lookups {
		key, err := keyOfIdentity(l, repl, q.ID)
		if err != nil {
			return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New("id has no key in this route"), Message: err.Error()}
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func keyOfIdentity(l *lookup.Lookup, repl *caddy.Replacer, text string) (string, error) {
	if l.KeyVaries() {
		return "", errKeyVaries
	}
	if lister, ok := l.Source().(source.Lister); ok {
		if err := lister.CanList(repl); err != nil {
			return "", err
		}
	}
	id, err := l.ParseIdentity(text)
	if err != nil {
		return "", err
	}
	req, err := l.Request(nil, repl, id)
	return req.Key, err
}

// siteReplacer returns a replacer with the root and the file system of a site.
func siteReplacer(root, fs string) *caddy.Replacer {
	repl := caddy.NewReplacer()
	if root != "" {
		repl.Set("http.vars.root", root)
	}
	repl.Set("http.vars.fs", fs)
	return repl
}
