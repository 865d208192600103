package httpsource

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// UnmarshalCaddyfile reads
//
//	source http <url> {
//		method <GET|HEAD|POST>
//		header <name> <template>       # repeatable
//		timeout <duration>             # default 5s
//		copy_headers <name...>
//		max_concurrent <n>             # default 64
//		max_body <size>                # default 1MiB
//		tls_ca <pem file...>
//	}
func (h *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.NextArg() {
		return d.Err("source http takes the URL to ask")
	}
	h.URL = d.Val()
	if d.NextArg() {
		return d.Errf("source http takes one URL, but has '%s' after it", d.Val())
	}
	once := make(directive.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := h.unmarshalLine(d, once); err != nil {
			return err
		}
	}
	return nil
}

func (h *Source) unmarshalLine(d *caddyfile.Dispenser, once directive.Once) (err error) {
	name := d.Val()
	if name != "header" {
		if err := once.Check(d); err != nil {
			return err
		}
	}
	switch name {
	case "method":
		h.Method, err = directive.OneArg(d)
		if err == nil && !knownMethod(h.Method) {
			err = d.Errf("method '%s' is not right: want GET, HEAD or POST", h.Method)
		}
	case "header":
		args := d.RemainingArgs()
		if len(args) != 2 {
			return d.Errf("header takes a name and a value, not %d arguments: put quotes around a value with spaces", len(args))
		}
		if h.Headers == nil {
			h.Headers = make(map[string][]string)
		}
		h.Headers.Add(args[0], args[1])
	case "timeout":
		h.Timeout, err = directive.Duration(d)
	case "copy_headers":
		h.CopyHeaders, err = someArgs(d)
	case "max_concurrent":
		h.MaxConcurrent, err = directive.Count(d, 1)
	case "max_body":
		h.MaxBody, err = directive.Size(d)
	case "tls_ca":
		h.TLSCA, err = someArgs(d)
	default:
		err = d.Errf("source http has no '%s': want method, header, timeout, copy_headers, max_concurrent, max_body or tls_ca", name)
	}
	return err
}

// someArgs returns the arguments of the current subdirective, one at least.
func someArgs(d *caddyfile.Dispenser) ([]string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return nil, d.Errf("%s takes at least one argument", name)
	}
	return args, nil
}
