package stores

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
)

// BetterAuth reads sessions that Better Auth keeps in a secondary storage in
// Redis: JSON with the session and its user, and the cookie
// better-auth.session_token, <token>.<signature>, whose name begins with
// __Secure- on HTTPS.
type BetterAuth struct {
	Settings
}

// CaddyModule returns the Caddy module information.
func (BetterAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".better_auth", New: func() caddy.Module { return new(BetterAuth) }}
}

// Provision resolves placeholders and defaults. The default key is that of
// @better-auth/redis-storage.
func (b *BetterAuth) Provision(caddy.Context) error {
	return b.Settings.Provision(Defaults{Cookie: "better-auth.session_token", Key: "better-auth:{id}", Signed: Signed})
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal].
func (b *BetterAuth) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return b.Unmarshal(d, nil) }

// secure is the prefix of a cookie's name that was set over HTTPS.
const secure = "__Secure-"

// UserFields is the field with the user's id.
func (*BetterAuth) UserFields() []string {
	return []string{"user.id"}
}

// Identities finds the tokens in cookies with a valid signature.
func (b *BetterAuth) Identities(r *http.Request) (ids []string) {
	values := b.Cookies(r)
	if !strings.HasPrefix(b.cookie, secure) {
		values = append(cookies(r, secure+b.cookie), values...)
	}
	for _, value := range values {
		signed := unescape(value)
		dot := strings.LastIndexByte(signed, '.')
		if dot > 0 && signedBy(b.secrets, sha256.New, base64.StdEncoding, signed[:dot], signed[dot+1:]) {
			ids = append(ids, signed[:dot])
		}
	}
	return ids
}

// Decode reads a session and its end, session.expiresAt.
func (b *BetterAuth) Decode(raw cache.Raw) (Session, error) {
	return readJSONUntil(raw, "session.expiresAt")
}
