package stores

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Express reads sessions of express-session that connect-redis keeps: JSON
// under sess:<id>, and the cookie connect.sid, s:<id>.<signature>.
type Express struct {
	Settings
}

// CaddyModule returns the Caddy module information.
func (Express) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".express", New: func() caddy.Module { return new(Express) }}
}

// Provision resolves placeholders and defaults.
func (e *Express) Provision(caddy.Context) error {
	return e.Settings.Provision(Defaults{Cookie: "connect.sid", Key: "sess:{id}", Signed: Signed})
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal].
func (e *Express) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return e.Unmarshal(d, nil) }

// UserFields is the field that Passport sets.
func (*Express) UserFields() []string {
	return passportFields
}

// Identities finds the ids in cookies with a valid signature.
func (e *Express) Identities(r *http.Request) (ids []string) {
	for _, value := range e.Cookies(r) {
		if signed, ok := strings.CutPrefix(unescape(value), "s:"); ok {
			ids = appendSigned(ids, signed, e.secrets)
		}
	}
	return ids
}

// appendSigned appends the id of <id>.<signature>, as cookie-signature writes it.
func appendSigned(ids []string, signed string, secrets [][]byte) []string {
	dot := strings.LastIndexByte(signed, '.')
	if dot <= 0 || !signedBy(secrets, sha256.New, base64.RawStdEncoding, signed[:dot], signed[dot+1:]) {
		return ids
	}
	return append(ids, signed[:dot])
}

// Decode reads a session. Its end is the expiry of its key: requests that only
// use a session extend the key and leave cookie.expires unchanged.
// cookie.expires counts where the key never expires or expires later than a
// session may live.
func (e *Express) Decode(raw cache.Raw) (Session, error) {
	session, err := readJSONUntil(raw, "cookie.expires")
	if err != nil {
		return Session{}, err
	}
	if !session.Expires.IsZero() && extended(session, raw.Expires) {
		session.Expires = time.Time{}
	}
	return session, nil
}

// extended reports whether the key was extended since its value was written: it
// expires after the end in the value, but within the longest life of a session.
func extended(session Session, keyExpires int64) bool {
	const (
		rounding = 2 * time.Second // connect-redis writes whole seconds
		longest  = 1 << 42
	)
	fields, _ := cache.ParseValue(session.JSON)
	field, _ := fields.Field("cookie.originalMaxAge")
	maxAge, err := strconv.ParseFloat(field.JSON(), 64)
	if err != nil || keyExpires == 0 || maxAge <= 0 || maxAge > longest {
		return false
	}
	ends := time.Unix(0, keyExpires)
	return ends.After(session.Expires) && time.Until(ends) <= time.Duration(maxAge)*time.Millisecond+rounding
}
