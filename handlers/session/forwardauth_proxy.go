// The options that cached_forward_auth has from reverse_proxy.

package session

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"golang.org/x/net/http/httpguts"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// headerUp is one header_up line.
type headerUp struct {
	op          byte // '+' adds, '-' deletes, 0 sets
	name, value string
}

// proxyOptions are the options that mean the same as in reverse_proxy.
func (a *forwardAuth) proxyOptions() directive.Options {
	return directive.Options{
		{Name: "header_up", Args: "[+|-]<field> [<value>]", Repeatable: true, Read: a.unmarshalHeaderUp},
		{Name: "trusted_proxies", Args: "<network...>", Repeatable: true, Read: a.unmarshalTrustedProxies},
		{Name: "transport", Args: "http { … }", Read: a.unmarshalTransport},
		{Name: "@<name>", Args: "[status <code...>] [header <field> [<value>]]", Repeatable: true, Read: func(d *caddyfile.Dispenser) error {
			if a.matchers == nil {
				a.matchers = make(map[string]caddyhttp.ResponseMatcher)
			}
			return caddyhttp.ParseNamedResponseMatcher(d.NewFromNextSegment(), a.matchers)
		}},
		{Name: "handle_response", Args: "[@<name>] { … }", Repeatable: true, Read: func(d *caddyfile.Dispenser) error {
			a.responses = append(a.responses, d.NewFromNextSegment())
			return nil
		}},
	}
}

// refusedProxyOptions are the options of reverse_proxy that are not supported.
func refusedProxyOptions() directive.Options {
	const (
		one     = "it asks one upstream: name a site of your own that balances with reverse_proxy, like http://localhost:8001"
		get     = "it asks by GET at the uri: leave it out"
		nothing = "answers are short and whole: leave it out"
	)
	var options directive.Options
	for why, names := range map[string][]string{
		one: {
			"to", "dynamic", "lb_policy", "lb_retries", "lb_try_duration", "lb_try_interval", "lb_retry_match",
			"health_uri", "health_upstream", "health_path", "health_port", "health_interval", "health_timeout", "health_status",
			"health_body", "health_headers", "health_method", "health_passes", "health_fails", "health_follow_redirects", "health_request_body",
			"fail_duration", "max_fails", "unhealthy_status", "unhealthy_latency", "unhealthy_request_count",
		},
		get:     {"method", "rewrite"},
		nothing: {"flush_interval", "request_buffers", "response_buffers", "stream_timeout", "stream_close_delay", "stream_buffer_size", "trace_logs", "verbose_logs"},
		"write handle_response with a header directive in it and respond, or set the header on the server that is asked": {"header_down"},
		"write handle_response with error or respond and the status":                                                     {"replace_status"},
		"what no handle_response matches is passed as it is: leave it out":                                               {"copy_response", "copy_response_headers"},
	} {
		for _, name := range names {
			options = append(options, directive.Option{Name: name, Refused: why})
		}
	}
	return options
}

// unmarshalHeaderUp reads a change of a header that is sent to the server.
func (a *forwardAuth) unmarshalHeaderUp(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	var up headerUp
	switch {
	case len(args) == 3:
		return d.Errf("header_up %s: a pattern and its replacement are not possible here: write the whole value", args[0])
	case len(args) != 1 && len(args) != 2:
		return d.Err("header_up takes a header and a value, or -<header>: put quotes around a value with spaces")
	case len(args) == 2:
		up.value = args[1]
	}
	up.name = args[0]
	if up.name != "" && strings.ContainsRune("+-", rune(up.name[0])) {
		up.op, up.name = up.name[0], up.name[1:]
	}
	if pattern := strings.Trim(up.name, "*"); up.op == '-' && (up.name == "*" || httpguts.ValidHeaderFieldName(pattern)) {
		a.ups = append(a.ups, up)
		return nil
	}
	if !httpguts.ValidHeaderFieldName(up.name) || up.op == '-' {
		return d.Errf("header_up: '%s' is not the name of a header", args[0])
	}
	up.name = http.CanonicalHeaderKey(up.name)
	const upstreamPlaceholder = "{http.reverse_proxy.upstream."
	for suffix, value := range map[string]string{"hostport}": a.upstream.address, "host}": hostOf(a.upstream.address), "port}": portOf(a.upstream)} {
		if up.name != "Host" {
			up.value = strings.ReplaceAll(up.value, upstreamPlaceholder+suffix, value)
		}
	}
	if up.name != "Host" && strings.Contains(up.value, "{http.reverse_proxy.") {
		return d.Errf("header_up %s: placeholders of reverse_proxy have no value here, but for {http.reverse_proxy.upstream.hostport}", up.name)
	}
	a.ups = append(a.ups, up)
	return nil
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func portOf(u authUpstream) string {
	if _, port, err := net.SplitHostPort(u.address); err == nil {
		return port
	}
	if u.scheme == "https" {
		return "443"
	}
	return "80"
}

// replaced reports whether header_up replaces or deletes a header of the client.
func (a *forwardAuth) replaced(name string) bool {
	return slices.ContainsFunc(a.ups, func(up headerUp) bool {
		return up.op == 0 && up.name == name || up.op == '-' && up.deletes(name)
	})
}

// deletes reports whether the line deletes a header: -<field> may begin or end
// with an asterisk.
func (up *headerUp) deletes(name string) bool {
	name, pattern := strings.ToLower(name), strings.ToLower(up.name)
	begins, ends := strings.HasSuffix(pattern, "*"), strings.HasPrefix(pattern, "*")
	word := strings.Trim(pattern, "*")
	switch {
	case begins && ends:
		return strings.Contains(name, word)
	case begins:
		return strings.HasPrefix(name, word)
	case ends:
		return strings.HasSuffix(name, word)
	}
	return name == word
}

// applyHeaderUp changes the headers that are sent, in the order of
// reverse_proxy: add, set, delete.
func (a *forwardAuth) applyHeaderUp() error {
	headers := a.source.Headers
	for _, up := range a.ups {
		switch {
		case up.op == '-':
		case up.name == "Host":
			if err := a.setHost(up); err != nil {
				return err
			}
		case up.op == '+' && isCredential(up.name):
			return fmt.Errorf("header_up +%s: this header identifies the client and is sent unchanged: use another header", up.name)
		case up.op == '+':
			headers.Add(up.name, up.value)
		}
	}
	for _, up := range a.ups {
		if up.op == 0 && up.name != "Host" {
			headers.Set(up.name, up.value)
		}
	}
	for _, up := range a.ups {
		if up.op == '-' && up.deletes("Host") {
			a.source.PreserveHost, a.source.HostWithoutPort = false, false
		}
		for name := range headers {
			if up.op == '-' && up.deletes(name) {
				delete(headers, name)
			}
		}
	}
	return nil
}

// setHost sets the Host that is sent to the server. The last line counts.
func (a *forwardAuth) setHost(up headerUp) error {
	src := &a.source
	src.PreserveHost, src.HostWithoutPort = false, false
	src.Headers.Del("Host")
	switch {
	case up.op != 0:
		return errors.New("header_up +Host: a request has one: write header_up Host")
	case up.value == "{http.reverse_proxy.upstream.hostport}":
	case up.value == "{http.reverse_proxy.upstream.host}":
		src.Headers.Set("Host", hostOf(a.upstream.address))
	case up.value == "{http.request.hostport}":
		src.PreserveHost = true
	case up.value == "{http.request.host}":
		src.PreserveHost, src.HostWithoutPort = true, true
	case strings.Contains(up.value, "{http."):
		return errors.New("header_up Host: want {host}, {hostport}, {upstream_hostport} or a name that does not change")
	default:
		src.Headers.Set("Host", up.value)
	}
	return nil
}

// privateNetworks is the value of private_ranges in Caddy.
var privateNetworks = []string{"192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.1/8", "fd00::/8", "::1"}

func (a *forwardAuth) unmarshalTrustedProxies(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("trusted_proxies takes networks, like 10.0.0.0/8, or private_ranges")
	}
	for _, arg := range args {
		if arg == "private_ranges" {
			a.session.TrustedProxies = append(a.session.TrustedProxies, privateNetworks...)
			continue
		}
		if _, err := caddyhttp.CIDRExpressionToPrefix(arg); err != nil {
			return d.Errf("trusted_proxies: '%s' is not a network: want one like 10.0.0.0/8, or private_ranges", arg)
		}
		a.session.TrustedProxies = append(a.session.TrustedProxies, arg)
	}
	return nil
}

func (a *forwardAuth) unmarshalTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() || d.Val() != "http" {
		return d.Err("an authentication server is asked over http: want transport http { … }")
	}
	module, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport.http")
	if err != nil {
		return err
	}
	a.transport, _ = module.(*reverseproxy.HTTPTransport)
	return nil
}

// parseResponses reads the routes of handle_response. Those without a matcher
// come last, as in reverse_proxy.
func (a *forwardAuth) parseResponses(h httpcaddyfile.Helper) error {
	var last []caddyhttp.ResponseHandler
	for _, d := range a.responses {
		d.Next() // handle_response
		args := d.RemainingArgs()
		var matcher *caddyhttp.ResponseMatcher
		switch len(args) {
		case 0:
		case 1:
			m, ok := a.matchers[args[0]]
			switch {
			case !strings.HasPrefix(args[0], "@"):
				return d.Errf("handle_response takes the name of a matcher: write @name status %s above it, and handle_response @name", args[0])
			case !ok:
				return d.Errf("handle_response: there is no matcher %s: write %s status <code...> above it", args[0], args[0])
			}
			matcher = &m
		default:
			return d.Errf("handle_response takes one matcher, like @error, and has %d", len(args))
		}
		module, err := httpcaddyfile.ParseSegmentAsSubroute(h.WithDispenser(d.NewFromNextSegment()))
		if err != nil {
			return err
		}
		subroute, ok := module.(*caddyhttp.Subroute)
		if !ok {
			return d.Err("handle_response takes a block of directives")
		}
		if err := checkRoutes(subroute.Routes); err != nil {
			return d.WrapErr(err)
		}
		handler := caddyhttp.ResponseHandler{Match: matcher, Routes: subroute.Routes}
		if matcher == nil {
			last = append(last, handler)
			continue
		}
		a.session.HandleResponse = append(a.session.HandleResponse, handler)
	}
	a.session.HandleResponse = append(a.session.HandleResponse, last...)
	return nil
}
