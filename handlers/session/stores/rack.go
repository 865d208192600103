package stores

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/session/stores/formats"
)

// Rack reads sessions of Ruby applications that redis-rack keeps: JSON or
// Marshal under rack:session:2::<SHA-256 of the id>. The cookie is
// rack.session, which holds the id alone.
type Rack struct {
	Settings
}

// CaddyModule returns the Caddy module information.
func (Rack) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".rack", New: func() caddy.Module { return new(Rack) }}
}

// Provision resolves placeholders and defaults.
func (s *Rack) Provision(caddy.Context) error {
	return s.Settings.Provision(Defaults{Cookie: "rack.session", Key: "rack:session:{id}"})
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal].
func (s *Rack) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return s.Unmarshal(d, nil) }

// UserFields is the field that Warden and Devise set: the key of the scope
// user.
func (*Rack) UserFields() []string {
	return []string{`warden\.user\.user\.key.0.0`}
}

// Identities finds the ids in cookies and returns their private form, under
// which Rack stores sessions.
func (s *Rack) Identities(r *http.Request) []string {
	ids := only(s.Cookies(r), "-_")
	for i, id := range ids {
		sum := sha256.Sum256([]byte(id))
		ids[i] = "2::" + hex.EncodeToString(sum[:])
	}
	return ids
}

var errRuby = errors.New("value is neither JSON nor what Ruby's Marshal writes")

// Decode reads a session, which ends with its key.
func (s *Rack) Decode(raw cache.Raw) (Session, error) {
	switch {
	case raw.Fields != nil:
		return Session{}, errNoString
	case isObject(raw.Text):
		return readJSON(raw)
	case strings.HasPrefix(raw.Text, "\x04"):
		json, err := formats.Marshal(raw.Text)
		return Session{JSON: json}, err
	}
	return Session{}, errRuby
}
