package invalidate

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// Parse reads the directive:
//
//	lookup_invalidate [<matcher>] <key...> {
//		tag      <template...>
//		on_error <status> | continue
//	}
func Parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	m := new(Handler)
	return m, m.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the handler; see [Parse].
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if err := directive.CheckLine(d); err != nil {
		return err
	}
	h.Keys = d.RemainingArgs()
	if err := h.Options().Unmarshal(d, invalidateDirective); err != nil {
		return err
	}
	if len(h.Keys)+len(h.Tags) == 0 {
		return d.Err("lookup_invalidate takes a key like {session} or session:user:{cookie.session}, or a block with tag")
	}
	return nil
}

// Options are the lines of the directive's block.
func (h *Handler) Options() directive.Options {
	return directive.Options{
		{Name: "tag", Args: "<template...>", Repeatable: true, Read: func(d *caddyfile.Dispenser) error {
			tags := d.RemainingArgs()
			if len(tags) == 0 {
				return d.Err("tag takes one template or more")
			}
			h.Tags = append(h.Tags, tags...)
			return nil
		}},
		directive.Value("on_error", "<status> | continue", &h.OnError, unmarshalOnError),
	}
}

func unmarshalOnError(d *caddyfile.Dispenser) (*lookup.Reaction, error) {
	arg, err := directive.OneArg(d)
	if err != nil {
		return nil, err
	}
	if arg == "continue" {
		return &lookup.Reaction{Continue: true}, nil
	}
	status, err := strconv.Atoi(arg)
	if err != nil || status < 400 || status > 599 {
		return nil, d.Errf("on_error: '%s' is not right: want an HTTP status from 400 to 599, or continue", arg)
	}
	return &lookup.Reaction{Status: status}, nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
