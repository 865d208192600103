package stores

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/session/stores/formats"
)

// PHP reads sessions of PHP itself that the extension redis (phpredis) keeps
// under PHPREDIS_SESSION:<id>. The cookie is PHPSESSID, which holds the id
// alone.
type PHP struct {
	Settings

	// The session.serialize_handler: php, php_serialize or php_binary. Default:
	// the one as which a value can be read. A value that could be one of several
	// is an error, because visitors could have written it to add variables.
	Format string `json:"format,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (PHP) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".php", New: func() caddy.Module { return new(PHP) }}
}

// Provision resolves placeholders and defaults.
func (p *PHP) Provision(caddy.Context) error {
	switch p.Format {
	case "", "php", "php_serialize", "php_binary":
	default:
		return errors.New("format: want php, php_serialize or php_binary, as in session.serialize_handler")
	}
	return p.Settings.Provision(Defaults{Cookie: "PHPSESSID", Key: "PHPREDIS_SESSION:{id}"})
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal]. It also takes
//
//	format php|php_serialize|php_binary
func (p *PHP) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.Unmarshal(d, directive.Options{
		directive.Value("format", "php|php_serialize|php_binary", &p.Format,
			directive.OneOf("php", "php_serialize", "php_binary")),
	})
}

// Variant is the format.
func (p *PHP) Variant() string { return p.Format }

// Identities finds the ids in cookies. PHP escapes the commas that they have with
// session.sid_bits_per_character 6.
func (p *PHP) Identities(r *http.Request) []string {
	ids := p.Cookies(r)
	for i := range ids {
		ids[i] = unescape(ids[i])
	}
	return only(ids, "-,")
}

var errIgbinary = errors.New("value is in the format of igbinary, which cannot be read: " +
	"set session.serialize_handler of PHP to php or php_serialize")

// Decode reads a session, which ends with its key.
func (p *PHP) Decode(raw cache.Raw) (Session, error) {
	switch {
	case raw.Fields != nil:
		return Session{}, errNoString
	case raw.Text == "": // an empty session
		return Session{JSON: "{}"}, nil
	case strings.HasPrefix(raw.Text, "\x00\x00\x00"):
		return Session{}, errIgbinary
	}
	read := formats.PHPGuessed
	switch p.Format {
	case "php":
		read = formats.PHPSession
	case "php_serialize":
		read = formats.PHP
	case "php_binary":
		read = formats.PHPBinary
	}
	json, err := read(raw.Text)
	return Session{JSON: json}, err
}
