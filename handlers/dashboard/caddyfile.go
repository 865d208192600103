package dashboard

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// Parse reads the directive:
//
//	lookup_dashboard [<matcher>] {
//		purge
//	}
func Parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the handler; see [Parse].
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("%s takes a matcher, like /dashboard*, and a block, but has '%s'", directiveName, d.Val())
	}
	return h.Options().Unmarshal(d, directiveName)
}

// Options are the lines of the directive's block.
func (h *Handler) Options() directive.Options {
	return directive.Options{directive.Flag("purge", &h.Purge)}
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
