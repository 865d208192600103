package stores

import (
	"encoding/base64"
	"fmt"
	"hash"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// Koa reads sessions of koa-session that koa-redis keeps: JSON under the id
// that is in the cookie koa.sess, with the signature in the cookie
// koa.sess.sig.
//
// Where the application sets a prefix, the id in the cookie begins with it, and
// so does the key: key koa:sess:{id} for the prefix koa:sess:. With a keyPrefix of
// ioredis, only the key begins with it.
type Koa struct {
	Settings

	// The algorithm of the signature: sha1, sha256, sha384 or sha512. Default:
	// sha1.
	Algorithm string `json:"algorithm,omitempty"`

	algorithm func() hash.Hash
	prefix    string // of ids in cookies, taken from the key
}

// CaddyModule returns the Caddy module information.
func (Koa) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".koa", New: func() caddy.Module { return new(Koa) }}
}

// Provision resolves placeholders and defaults.
func (k *Koa) Provision(caddy.Context) (err error) {
	if k.algorithm, err = algorithm(k.Algorithm, "sha1"); err != nil {
		return err
	}
	if err := k.Settings.Provision(Defaults{Cookie: "koa.sess", Key: cache.IDPlaceholder, Signed: Signed}); err != nil {
		return err
	}
	split, err := template.NewSplit(k.key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	k.prefix = split.Texts[0]
	return nil
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal]. It also takes
//
//	algorithm sha1|sha256|sha384|sha512
func (k *Koa) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return k.Unmarshal(d, algorithmOption(&k.Algorithm))
}

// UserFields is the field that koa-passport sets.
func (*Koa) UserFields() []string {
	return passportFields
}

// Identities finds the ids in cookies with a valid signature in the cookie .sig.
func (k *Koa) Identities(r *http.Request) (ids []string) {
	signatures := cookies(r, k.cookie+".sig")
	for _, value := range k.Cookies(r) {
		id := strings.TrimPrefix(value, k.prefix)
		if id == "" {
			continue
		}
		for _, signature := range signatures {
			if signedBy(k.secrets, k.algorithm, base64.RawURLEncoding, k.cookie+"="+value, signature) {
				ids = append(ids, id)
				break
			}
		}
	}
	return ids
}

// Decode reads a session and its end, _expire.
func (k *Koa) Decode(raw cache.Raw) (Session, error) {
	return readJSONUntil(raw, "_expire")
}
