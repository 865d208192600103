package stores

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Django reads sessions of the backend cache, over django-redis or Django's own
// Redis cache: a pickle, JSON or msgpack, plain or compressed by zlib, and the
// cookie sessionid, which holds the id alone. Who is logged in has a
// _auth_user_id.
type Django struct {
	Settings
}

// CaddyModule returns the Caddy module information.
func (Django) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".django", New: func() caddy.Module { return new(Django) }}
}

// Provision resolves placeholders and defaults. The key is that of the first
// version of a cache without a KEY_PREFIX.
func (s *Django) Provision(caddy.Context) error {
	return s.Settings.Provision(Defaults{Cookie: "sessionid", Key: ":1:django.contrib.sessions.cache{id}"})
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal].
func (s *Django) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return s.Unmarshal(d, nil) }

// UserFields is what django.contrib.auth sets.
func (*Django) UserFields() []string {
	return []string{"_auth_user_id"}
}

// Identities finds the ids in cookies.
func (s *Django) Identities(r *http.Request) []string {
	ids := only(s.Cookies(r), "")
	kept := ids[:0]
	for _, id := range ids {
		const shortest = 8 // as Django has it
		if len(id) >= shortest {
			kept = append(kept, id)
		}
	}
	return kept
}

// Decode reads a session, which ends with its key.
func (s *Django) Decode(raw cache.Raw) (Session, error) { return readPython(raw) }
