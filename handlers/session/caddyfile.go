package session

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
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
	if len(s.FromRaw) > 0 {
		return s, nil // sessions of from <store> have keys of their own
	}
	kind := lookup.Kind{Directive: sessionDirective, Family: cache.Session, HashWithHTTP: true, Gated: len(s.Require) > 0}
	return s, s.CheckPlace(h, kind, "")
}

// UnmarshalCaddyfile reads the handler from Caddyfile tokens:
//
//	session_lookup [<matcher>] [<id...>] {
//		from <store> { … }        # instead of the identity
//		key <template>
//		hash_id [on|off]
//		ttl <duration>
//		negative_ttl <duration>
//		expires <field> [seconds|milliseconds|rfc3339]
//		sliding
//		source none | http <url> { … }
//		require <field> [<value...>]
//		on_anonymous ask | <status> | redirect <url> | continue
//		on_missing <status> | redirect <url> | pass | continue
//		on_denied <status> | pass | continue
//		on_error <status> | pass | continue
//		stale_if_error <duration>
//		copy_headers [<field>[>Header-Name]...]
//		tag <template...>
//		name <name>
//	}
//
// require, copy_headers and tag may be repeated; the fields of copy_headers may
// also stand in a block, one per line.
func (s *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	s.ID = d.RemainingArgs()
	start := *d // for an error that names the directive's line
	if slices.Contains(s.ID, "") {
		return d.Err("session_lookup takes an identity, like {cookie.session}: an empty text is none")
	}
	for _, part := range s.ID {
		if err := lookup.CheckIdentityTemplate(zap.NewNop(), part); err != nil {
			return d.WrapErr(err)
		}
	}
	if err := s.Options().Unmarshal(d, sessionDirective); err != nil {
		return err
	}
	switch {
	case len(s.ID) == 0 && s.FromRaw == nil:
		return start.Err("session_lookup takes an identity, like {cookie.session}, or from <store> in its block")
	case len(s.ID) > 0 && s.FromRaw != nil:
		return start.Err("session_lookup has an identity and from, which finds the session by its cookie: leave out one")
	}
	return nil
}

// Options are the lines of the directive's block.
func (s *Handler) Options() directive.Options {
	options := append(directive.Options{{Name: "from", Args: "<store> { … }", Read: s.unmarshalFrom}}, s.RecordOptions()...)
	options = append(options,
		directive.Option{Name: "expires", Args: "<field> [seconds|milliseconds|rfc3339]", Read: s.unmarshalExpires},
		directive.Flag("sliding", &s.Sliding),
		s.SourceOption("none | http <url> { … }"),
		directive.Option{Name: "require", Args: "<field> [<value...>]", Repeatable: true, Read: s.unmarshalRequire},
		lookup.ReactionOption("on_anonymous", lookup.Reactions{Ask: true, Redirect: true}, &s.OnAnonymous),
	)
	options = append(options, s.ReactionOptions(lookup.Reactions{Redirect: true, Pass: true}, lookup.Reactions{Pass: true})...)
	options = append(options, directive.Option{
		Name: "copy_headers", Args: "[<field>[>Header-Name]...]", Repeatable: true, Read: s.unmarshalCopies,
	})
	return append(options, s.NameOptions()...)
}

func (s *Handler) unmarshalRequire(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("require takes a field, and may take values: require user_id, or require role admin editor")
	}
	field, fieldQuoted := d.Val(), d.Token().Quoted()
	if err := checkPath(field); err != nil {
		return d.WrapErr(fmt.Errorf("require: %w", err))
	}
	var values []string
	var quoted []bool
	for d.NextArg() {
		if err := checkValue(d.Val()); err != nil {
			return d.WrapErr(fmt.Errorf("require %s: %w", field, err))
		}
		values, quoted = append(values, d.Val()), append(quoted, d.Token().Quoted())
	}
	if isNegation(field) && !fieldQuoted && len(values) > 0 {
		return d.Errf("require: '%s' reads as an operator, and not as a field: a field cannot be forbidden, "+
			"so require one that only the allowed sessions have; if it is a field, write %[1]q in quotes", field)
	}
	values, err := valuesFirst(values, quoted)
	if err != nil {
		return d.WrapErr(fmt.Errorf("require %s: %w", field, err))
	}
	s.Require = append(s.Require, Requirement{Field: field, Values: values})
	return nil
}

func (s *Handler) unmarshalExpires(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 && len(args) != 2 {
		return d.Err("expires takes a field, and may take the unit: expires exp, or expires cookie.expires rfc3339")
	}
	s.Expires = &Expiry{Field: args[0]}
	if len(args) == 2 {
		s.Expires.Unit = args[1]
	}
	if err := s.Expires.validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
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
		if name := strings.TrimRight(field, "-="); name != field && renamed {
			return d.Errf("copy_headers: '%s' is not right: write %s>%s", arg, name, header)
		}
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
