package stores

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/session/stores/formats"
)

// Laravel reads sessions of Laravel's Redis driver: a string that PHP
// serialized, holding serialized or JSON data, encrypted or not. The cookie
// laravel_session is encrypted. The secrets are APP_KEY and the keys in
// APP_PREVIOUS_KEYS. A session of a user who is logged in has the field
// login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d.
type Laravel struct {
	Settings

	keys []laravelKey
}

// CaddyModule returns the Caddy module information.
func (Laravel) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".laravel", New: func() caddy.Module { return new(Laravel) }}
}

// Provision resolves placeholders and defaults. Cookie and key default to those
// of Laravel 11 for an application named Laravel.
func (l *Laravel) Provision(caddy.Context) error {
	err := l.Settings.Provision(Defaults{
		Cookie: "laravel_session", Key: "laravel_database_laravel_cache_{id}", Signed: Signed,
	})
	if err != nil {
		return err
	}
	l.keys = nil
	for _, secret := range l.secrets {
		key, err := newLaravelKey(string(secret), l.cookie)
		if err != nil {
			return err
		}
		l.keys = append(l.keys, key)
	}
	return nil
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal].
func (l *Laravel) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return l.Unmarshal(d, nil) }

// UserFields is the field of the guard web: its name and the SHA-1 of its
// class.
func (*Laravel) UserFields() []string {
	return []string{"login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d"}
}

// Identities finds the ids in cookies that are encrypted with one of the keys,
// under the name of the session cookie.
func (l *Laravel) Identities(r *http.Request) (ids []string) {
	for _, value := range l.Cookies(r) {
		if id, ok := l.identity(unescape(value)); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func (l *Laravel) identity(payload string) (id string, ok bool) {
	for i := range l.keys {
		text, ok := l.keys[i].decrypt(payload)
		if !ok {
			continue
		}
		// old versions of Laravel serialize what they encrypt
		if serialized, err := formats.PHPString(text); err == nil {
			text = serialized
		}
		if id, ok := l.keys[i].cutPrefix(text); ok && len(id) == 40 && isPlain(id, "") {
			return id, true
		}
	}
	return "", false
}

var errLaravel = errors.New("value is not a session that Laravel serialized")

// Decode reads a session, which ends with its key.
func (l *Laravel) Decode(raw cache.Raw) (Session, error) {
	if raw.Fields != nil {
		return Session{}, errNoString
	}
	text, err := formats.PHPString(raw.Text)
	if err != nil {
		return Session{}, errLaravel
	}
	if encrypted, ok := l.decrypt(text); ok { // SESSION_ENCRYPT
		if text, err = formats.PHPString(encrypted); err != nil {
			return Session{}, errLaravel
		}
	}
	if isObject(text) {
		return readJSON(cache.Raw{Text: text})
	}
	if text == "[]" {
		return Session{JSON: "{}"}, nil
	}
	json, err := formats.PHP(text)
	return Session{JSON: json}, err
}

func (l *Laravel) decrypt(payload string) (string, bool) {
	if !strings.HasPrefix(payload, "eyJ") { // {" in base64
		return "", false
	}
	for i := range l.keys {
		if text, ok := l.keys[i].decrypt(payload); ok {
			return text, true
		}
	}
	return "", false
}
