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
//		cache_control respect|ignore   # default respect
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
	return h.Options().Unmarshal(d, "source http")
}

// Options are the lines of the source's block.
func (h *Source) Options() directive.Options {
	return directive.Options{
		{Name: "method", Args: "<GET|HEAD|POST>", Read: func(d *caddyfile.Dispenser) (err error) {
			h.Method, err = directive.OneArg(d)
			if err == nil && !knownMethod(h.Method) {
				err = d.Errf("method '%s' is not right: want GET, HEAD or POST", h.Method)
			}
			return err
		}},
		{Name: "header", Args: "<name> <template>", Repeatable: true, Read: func(d *caddyfile.Dispenser) error {
			args := d.RemainingArgs()
			if len(args) != 2 {
				return d.Errf("header takes a name and a value, not %d arguments: put quotes around a value with spaces", len(args))
			}
			if h.Headers == nil {
				h.Headers = make(map[string][]string)
			}
			h.Headers.Add(args[0], args[1])
			return nil
		}},
		{Name: "timeout", Args: "<duration>", Read: func(d *caddyfile.Dispenser) (err error) {
			h.Timeout, err = directive.Duration(d)
			return err
		}},
		{Name: "copy_headers", Args: "<name...>", Read: func(d *caddyfile.Dispenser) (err error) {
			h.CopyHeaders, err = someArgs(d)
			return err
		}},
		{Name: "cache_control", Args: "respect|ignore", Read: func(d *caddyfile.Dispenser) (err error) {
			h.CacheControl, err = directive.OneOf(d, "respect", "ignore")
			return err
		}},
		{Name: "max_concurrent", Args: "<n>", Read: func(d *caddyfile.Dispenser) (err error) {
			h.MaxConcurrent, err = directive.Count(d, 1)
			return err
		}},
		{Name: "max_body", Args: "<size>", Read: func(d *caddyfile.Dispenser) (err error) {
			h.MaxBody, err = directive.Size(d)
			return err
		}},
		{Name: "tls_ca", Args: "<pem file...>", Read: func(d *caddyfile.Dispenser) (err error) {
			h.TLSCA, err = someArgs(d)
			return err
		}},
	}
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
