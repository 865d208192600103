package upload

import (
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
//	upload_progress [<matcher>] <id> {
//		ttl <duration>
//		interval <duration>
//		owner <template>
//		name <name>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	if h.ID, err = uploadIdentity(d); err != nil {
		return err
	}
	once := make(directive.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := once.Check(d); err != nil {
			return err
		}
		switch d.Val() {
		case "ttl":
			h.TTL, err = directive.Duration(d)
		case "interval":
			h.Interval, err = directive.Duration(d)
		case "owner":
			h.Owner, err = uploadOwner(d)
		case "name":
			h.Name, err = directive.OneArg(d)
		default:
			err = d.Errf("unknown subdirective '%s': %s takes ttl, interval, owner and name", d.Val(), uploadDirective)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ParseReport reads the upload_progress_report directive.
func ParseReport(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	u := new(Report)
	return u, u.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the handler from Caddyfile tokens:
//
//	upload_progress_report [<matcher>] <id> {
//		owner <template>
//		interval <duration>
//	}
func (h *Report) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	if h.ID, err = uploadIdentity(d); err != nil {
		return err
	}
	once := make(directive.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := once.Check(d); err != nil {
			return err
		}
		switch d.Val() {
		case "owner":
			h.Owner, err = uploadOwner(d)
		case "interval":
			h.Interval, err = directive.Duration(d)
		default:
			err = d.Errf("unknown subdirective '%s': %s takes owner and interval", d.Val(), reportDirective)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// uploadIdentity reads what stands behind the directive's name.
func uploadIdentity(d *caddyfile.Dispenser) (string, error) {
	d.Next()
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return "", d.Errf("%s takes one identity, like {path.1} or {header.X-Upload-Id}, and has %d: "+
			"quote one that has spaces", name, len(args))
	}
	return args[0], nil
}

// uploadOwner refuses an empty owner, which would be nobody's upload.
func uploadOwner(d *caddyfile.Dispenser) (string, error) {
	owner, err := directive.OneArg(d)
	if err == nil && owner == "" {
		err = d.Err("owner is empty: want a template like {http.session.user_id}")
	}
	return owner, err
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*Report)(nil)
)
