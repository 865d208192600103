// The options that all stores share, and how their blocks are read.

package stores

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/template"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// Settings are the options that all stores share.
type Settings struct {
	// The name of the session cookie. Default: the application's own default.
	Cookie string `json:"cookie,omitempty"`

	// The secrets with which cookies are signed or encrypted. A cookie is valid
	// with any of them, so that secrets can be rotated. Placeholders such as
	// {env.SESSION_SECRET} and {file./run/secrets/session} are replaced when
	// the configuration is loaded. Default: none, which is an error for stores
	// whose cookies are always signed.
	Secrets []string `json:"secrets,omitempty"`

	// The template of the keys in Redis, in which {id} stands for the id of the
	// session. Default: the application's own default.
	Key string `json:"key,omitempty"`

	cookie, key string
	secrets     [][]byte
}

// Defaults of a store.
type Defaults struct {
	Cookie string
	Key    string
	// Signed says whether the store takes secrets.
	Signed Signing
}

// Signing says whether the cookies of a store are signed or encrypted.
type Signing int

const (
	// Unsigned cookies hold the id alone; secrets are refused.
	Unsigned Signing = iota
	// MaybeSigned cookies are signed if there are secrets.
	MaybeSigned
	// Signed cookies need a secret.
	Signed
)

// Provision resolves placeholders and sets defaults.
func (s *Settings) Provision(defaults Defaults) error {
	s.cookie, s.key = s.Cookie, s.Key
	if s.cookie == "" {
		s.cookie = defaults.Cookie
	}
	if s.key == "" {
		s.key = defaults.Key
	}
	repl := caddy.NewReplacer()
	var err error
	if err = template.CheckDollar(s.cookie); err != nil {
		return fmt.Errorf("cookie: %w", err)
	}
	if s.cookie, err = repl.ReplaceOrErr(s.cookie, true, true); err != nil {
		return fmt.Errorf("cookie: %w", err)
	}
	if !isCookieName(s.cookie) {
		return errors.New("cookie: that is not the name of a cookie")
	}
	s.secrets = nil
	for i, secret := range s.Secrets {
		secret, err := resolveSecret(repl, secret)
		if err != nil {
			return err
		}
		if secret == "" {
			return fmt.Errorf("secret: number %d is empty", i+1)
		}
		s.secrets = append(s.secrets, []byte(secret))
	}
	switch {
	case defaults.Signed == Signed && len(s.secrets) == 0:
		return errors.New("there is no secret: want the one that the application signs its cookies with, like secret {env.SESSION_SECRET}")
	case defaults.Signed == Unsigned && len(s.secrets) > 0:
		return errors.New("there is a secret, but the cookies of this store are not signed: leave it out")
	}
	return nil
}

// resolveSecret replaces the placeholders of a secret. Its errors do not repeat other
// braces, which may be a part of the secret.
func resolveSecret(repl *caddy.Replacer, secret string) (string, error) {
	if template.CheckDollar(secret) != nil {
		return "", errors.New("secret: a $ stands before a placeholder: write {env.NAME} or {file.PATH} alone, " +
			`or \{ and \} for braces that are a part of the secret`)
	}
	return repl.ReplaceFunc(secret, func(name string, value any) (any, error) {
		switch {
		case value == nil:
			return nil, errors.New("secret: a placeholder is neither {env.NAME} nor {file.PATH}: " +
				`write \{ and \} for braces that are a part of the secret`)
		case caddy.ToString(value) == "":
			return nil, fmt.Errorf("secret: {%s} is empty: "+
				"the variable must be set, or the file readable, for the process of Caddy", name)
		}
		return value, nil
	})
}

// SignsIdentities reports whether there is a secret.
func (s *Settings) SignsIdentities() bool { return len(s.secrets) > 0 }

// KeyTemplate is the template of the keys.
func (s *Settings) KeyTemplate() string { return s.key }

// HasKey reports whether a key is configured.
func (s *Settings) HasKey() bool { return s.Key != "" }

// CookieName is the name of the session cookie.
func (s *Settings) CookieName() string { return s.cookie }

// Unmarshal reads the block of a store; its tokens are those of from.
//
//	<store> {
//		cookie <name>
//		secret <secret...>    # repeatable
//		key <template>
//	}
//
// own are the options that only this store has.
func (s *Settings) Unmarshal(d *caddyfile.Dispenser, own directive.Options) error {
	d.Next() // the name of the store
	store := d.Val()
	if d.NextArg() {
		return d.Errf("unexpected '%s' after %s: its options go into a block", d.Val(), store)
	}
	return append(s.options(), own...).Unmarshal(d, store)
}

// options are those that all stores have.
func (s *Settings) options() directive.Options {
	return directive.Options{
		directive.Value("cookie", "<name>", &s.Cookie, notEmpty),
		{Name: "secret", Args: "<secret...>", Repeatable: true, Read: func(d *caddyfile.Dispenser) error {
			secrets := d.RemainingArgs()
			if len(secrets) == 0 {
				return d.Err("secret takes one secret or more")
			}
			s.Secrets = append(s.Secrets, secrets...)
			return nil
		}},
		directive.Value("key", "<template>", &s.Key, notEmpty),
	}
}

func notEmpty(d *caddyfile.Dispenser) (string, error) {
	name := d.Val()
	arg, err := directive.OneArg(d)
	if err == nil && arg == "" {
		err = d.Errf("%s is empty", name)
	}
	return arg, err
}
