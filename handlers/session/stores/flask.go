package stores

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Flask reads sessions that Flask-Session keeps: msgpack, JSON or a pickle
// under session:<id>. The cookie is session. With secrets, cookies must be
// signed, as SESSION_USE_SIGNER does; without, they hold the id alone.
type Flask struct {
	Settings

	keys [][]byte // derived from the secrets as itsdangerous does
}

// CaddyModule returns the Caddy module information.
func (Flask) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".flask", New: func() caddy.Module { return new(Flask) }}
}

// Provision resolves placeholders and defaults.
func (f *Flask) Provision(caddy.Context) error {
	if err := f.Settings.Provision(Defaults{Cookie: "session", Key: "session:{id}", Signed: MaybeSigned}); err != nil {
		return err
	}
	f.keys = nil
	for _, secret := range f.secrets {
		mac := hmac.New(sha1.New, secret)
		mac.Write([]byte("flask-session"))
		f.keys = append(f.keys, mac.Sum(nil))
	}
	return nil
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal].
func (f *Flask) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return f.Unmarshal(d, nil) }

// UserFields is the field that Flask-Login sets.
func (*Flask) UserFields() []string {
	return []string{"_user_id"}
}

// Identities finds the ids in cookies.
func (f *Flask) Identities(r *http.Request) (ids []string) {
	if f.keys == nil {
		return only(f.Cookies(r), "-_")
	}
	for _, value := range f.Cookies(r) {
		dot := strings.LastIndexByte(value, '.')
		if dot > 0 && signedBy(f.keys, sha1.New, base64.RawURLEncoding, value[:dot], value[dot+1:]) {
			ids = append(ids, value[:dot])
		}
	}
	return ids
}

// Decode reads a session, which ends with its key.
func (f *Flask) Decode(raw cache.Raw) (Session, error) { return readPython(raw) }
