package stores

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Django reads sessions of Django's cache backend, over django-redis or
// Django's own Redis cache: a pickle, JSON or msgpack, plain or compressed by
// zlib. The cookie is sessionid, which holds the id alone. A session of a user
// who is logged in has the field _auth_user_id.
type Django struct {
	Settings
}

// CaddyModule returns the Caddy module information.
func (Django) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".django", New: func() caddy.Module { return new(Django) }}
}

// Provision resolves placeholders and defaults. The default key is that of a
// cache of VERSION 1 without a KEY_PREFIX.
func (s *Django) Provision(caddy.Context) error {
	return s.Settings.Provision(Defaults{Cookie: "sessionid", Key: ":1:django.contrib.sessions.cache{id}"})
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal].
func (s *Django) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return s.Unmarshal(d, nil) }

// UserFields is the field that django.contrib.auth sets.
func (*Django) UserFields() []string {
	return []string{"_auth_user_id"}
}

// Identities finds the ids in cookies. Of several cookies, Django reads the last
// one.
func (s *Django) Identities(r *http.Request) []string {
	ids := only(s.LastCookies(r), "")
	kept := ids[:0]
	for _, id := range ids {
		const shortest = 8 // the minimum of Django
		if len(id) >= shortest {
			kept = append(kept, id)
		}
	}
	return kept
}

// Decode reads a session, which ends with its key.
func (s *Django) Decode(raw cache.Raw) (Session, error) { return readPython(raw) }
