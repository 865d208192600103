package session

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// Parse reads the session_lookup directive.
func Parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Handler)
	if err := s.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if s.Name == "" {
		s.Name = lookup.PositionName(h, sessionDirective)
	}
	return s, nil
}

// UnmarshalCaddyfile reads the handler from Caddyfile tokens:
//
//	session_lookup [<matcher>] [<id>] {
//		from <store> { … }        # instead of the identity
//		key <template>
//		hash_id [on|off]
//		ttl <duration>
//		negative_ttl <duration>
//		sliding
//		source none | http <url> { … }
//		require <field> <value...>
//		on_missing <status> | redirect <url> | continue
//		on_denied <status> | continue
//		on_error <status> | continue
//		copy_headers [<field>[>Header-Name]...]
//		name <name>
//	}
//
// require and copy_headers may be repeated; the fields of copy_headers may
// also stand in a block, one per line.
func (s *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	args := d.RemainingArgs()
	if len(args) > 1 || len(args) == 1 && args[0] == "" {
		return d.Errf("session_lookup takes one identity, like {cookie.session}, and has %d: "+
			"quote one that has spaces", len(args))
	}
	if len(args) == 1 {
		s.ID = args[0]
	}
	start := *d // for an error that names the directive's line
	once := make(directive.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		known, err := s.Lookup.UnmarshalOption(d, once, true)
		if !known {
			err = s.unmarshalOwn(d, once)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case s.ID == "" && s.FromRaw == nil:
		return start.Err("session_lookup takes an identity, like {cookie.session}, or from <store> in its block")
	case s.ID != "" && s.FromRaw != nil:
		return start.Err("session_lookup has an identity and from, which finds the session by its cookie: leave out one")
	}
	return nil
}

// unmarshalOwn reads what only this lookup has.
func (s *Handler) unmarshalOwn(d *caddyfile.Dispenser, once directive.Once) error {
	switch d.Val() {
	case "from":
		if err := once.Check(d); err != nil {
			return err
		}
		return s.unmarshalFrom(d)
	case "sliding":
		if err := once.Check(d); err != nil {
			return err
		}
		s.Sliding = true
		return directive.NoArgs(d)
	case "require":
		args := d.RemainingArgs()
		if len(args) < 2 {
			return d.Err("require takes a field and at least one value, like: require role admin editor")
		}
		if err := checkPath(args[0]); err != nil {
			return d.WrapErr(fmt.Errorf("require: %w", err))
		}
		s.Require = append(s.Require, Requirement{Field: args[0], Values: args[1:]})
		return nil
	case "copy_headers":
		return s.unmarshalCopies(d)
	}
	return d.Errf("unknown subdirective '%s': session_lookup takes from, key, hash_id, ttl, negative_ttl, sliding, "+
		"source, require, on_missing, on_denied, on_error, copy_headers and name", d.Val())
}

func (s *Handler) unmarshalCopies(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		args = append(append(args, d.Val()), d.RemainingArgs()...)
	}
	if len(args) == 0 {
		return d.Err("copy_headers takes at least one field, like user_id>X-User-Id")
	}
	for _, arg := range args {
		field, header, renamed := strings.Cut(arg, ">")
		if field == "" || renamed && header == "" {
			return d.Errf("copy_headers: '%s' is not right: want a field, or <field>>Header-Name", arg)
		}
		s.CopyHeaders = append(s.CopyHeaders, HeaderCopy{Field: field, Header: header})
	}
	if _, err := resolveCopies(s.CopyHeaders); err != nil {
		return d.WrapErr(err)
	}
	return nil
}
