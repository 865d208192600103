package stores

import (
	"encoding/base64"
	"hash"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// Fastify reads sessions of @fastify/session that connect-redis keeps: JSON
// under sess:<id>. The cookie is sessionId, <id>.<signature>, after s: where
// the application sets that prefix.
type Fastify struct {
	Settings

	// The algorithm of the signature: sha256, sha1, sha384 or sha512. Default:
	// sha256.
	Algorithm string `json:"algorithm,omitempty"`

	algorithm func() hash.Hash
}

// CaddyModule returns the Caddy module information.
func (Fastify) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".fastify", New: func() caddy.Module { return new(Fastify) }}
}

// Provision resolves placeholders and defaults.
func (f *Fastify) Provision(caddy.Context) (err error) {
	if f.algorithm, err = algorithm(f.Algorithm, "sha256"); err != nil {
		return err
	}
	return f.Settings.Provision(Defaults{Cookie: "sessionId", Key: "sess:{id}", Signed: Signed})
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal]. It also takes
//
//	algorithm sha256|sha1|sha384|sha512
func (f *Fastify) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return f.Unmarshal(d, algorithmOption(&f.Algorithm))
}

// algorithmOption is the option for the hash function of signatures.
func algorithmOption(into *string) directive.Options {
	algorithms := []string{"sha1", "sha256", "sha384", "sha512"}
	return directive.Options{directive.Value("algorithm", strings.Join(algorithms, "|"), into, directive.OneOf(algorithms...))}
}

// UserFields is the field that @fastify/passport sets.
func (*Fastify) UserFields() []string {
	return passportFields
}

// Identities finds the ids in cookies with a valid signature.
func (f *Fastify) Identities(r *http.Request) (ids []string) {
	for _, value := range f.Cookies(r) {
		value = unescape(value)
		id, ok := f.signed(value)
		if prefixed, has := strings.CutPrefix(value, "s:"); !ok && has {
			id, ok = f.signed(prefixed)
		}
		if ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// signed returns the id of <id>.<signature> if the signature is valid.
func (f *Fastify) signed(value string) (id string, ok bool) {
	dot := strings.LastIndexByte(value, '.')
	if dot <= 0 || !signedBy(f.secrets, f.algorithm, base64.RawStdEncoding, value[:dot], value[dot+1:]) {
		return "", false
	}
	return value[:dot], true
}

// Decode reads a session and its end, cookie.expires.
func (f *Fastify) Decode(raw cache.Raw) (Session, error) {
	return readJSONUntil(raw, "cookie.expires")
}
