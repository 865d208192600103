package upload

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// Parse reads the upload_progress directive.
func Parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	u := new(Handler)
	if err := u.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if u.Name == "" {
		u.Name = lookup.PositionName(h, uploadDirective)
	}
	return u, nil
}

// UnmarshalCaddyfile reads the handler from Caddyfile tokens:
//
//	upload_progress [<matcher>] <id...> {
//		ttl <duration>
//		interval <duration>
//		owner <template>
//		name <name>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	if h.ID, err = uploadIdentity(d); err != nil {
		return err
	}
	return h.Options().Unmarshal(d, uploadDirective)
}

// Options are the lines of the directive's block.
func (h *Handler) Options() directive.Options {
	return directive.Options{
		directive.Value("ttl", "<duration>", &h.TTL, directive.Duration),
		directive.Value("interval", "<duration>", &h.Interval, directive.Duration),
		owner(&h.Owner),
		directive.Text("name", "<name>", &h.Name),
	}
}

// ParseReport reads the upload_progress_report directive.
func ParseReport(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	u := new(Report)
	return u, u.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the handler from Caddyfile tokens:
//
//	upload_progress_report [<matcher>] <id...> {
//		owner <template>
//		interval <duration>
//	}
func (h *Report) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	if h.ID, err = uploadIdentity(d); err != nil {
		return err
	}
	return h.Options().Unmarshal(d, reportDirective)
}

// Options are the lines of the directive's block.
func (h *Report) Options() directive.Options {
	return directive.Options{
		owner(&h.Owner),
		directive.Value("interval", "<duration>", &h.Interval, directive.Duration),
	}
}

// owner is the option for the owner of an upload. It may not be empty: the upload would
// have no owner.
func owner(into *string) directive.Option {
	return directive.Value("owner", "<template>", into, func(d *caddyfile.Dispenser) (string, error) {
		template, err := directive.OneArg(d)
		if err == nil && template == "" {
			err = d.Err("owner is empty: want a template like {http.session.user_id}")
		}
		return template, err
	})
}

// uploadIdentity reads the arguments of the directive.
func uploadIdentity(d *caddyfile.Dispenser) (lookup.Identity, error) {
	d.Next()
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 || slices.Contains(args, "") {
		return nil, d.Errf("%s takes an identity, like {path.1} or {header.X-Upload-Id}", name)
	}
	return args, nil
}
