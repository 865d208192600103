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
		directive.Value("method", "<GET|HEAD|POST>", &h.Method, unmarshalMethod),
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
		directive.Value("timeout", "<duration>", &h.Timeout, directive.Duration),
		directive.Value("copy_headers", "<name...>", &h.CopyHeaders, someArgs),
		directive.Value("cache_control", "respect|ignore", &h.CacheControl, directive.OneOf("respect", "ignore")),
		directive.Value("max_concurrent", "<n>", &h.MaxConcurrent, directive.Count(1)),
		directive.Value("max_body", "<size>", &h.MaxBody, directive.Size),
		directive.Value("tls_ca", "<pem file...>", &h.TLSCA, someArgs),
	}
}

func unmarshalMethod(d *caddyfile.Dispenser) (string, error) {
	method, err := directive.OneArg(d)
	if err == nil && !knownMethod(method) {
		err = d.Errf("method '%s' is not right: want GET, HEAD or POST", method)
	}
	return method, err
}

// someArgs returns the arguments of the current option, at least one.
func someArgs(d *caddyfile.Dispenser) ([]string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return nil, d.Errf("%s takes at least one argument", name)
	}
	return args, nil
}
