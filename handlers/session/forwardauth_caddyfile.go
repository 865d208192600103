// The syntax of cached_forward_auth.

package session

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// ParseForwardAuth reads the cached_forward_auth directive.
func ParseForwardAuth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	a := new(forwardAuth)
	if err := a.unmarshal(h.Dispenser); err != nil {
		return nil, err
	}
	if a.session.Name == "" {
		a.session.Name = lookup.PositionName(h, AuthDirective)
	}
	if err := a.parseResponses(h); err != nil {
		return nil, err
	}
	handler, err := a.handler()
	if err != nil {
		return nil, a.start.WrapErr(err)
	}
	return handler, nil
}

// unmarshal reads the directive from Caddyfile tokens:
//
//	cached_forward_auth [<matcher>] <upstream> {
//		uri <to>
//		copy_headers <field>[>Header-Name]...
//		cookies <name...>                        # default: all
//		headers <name...>                        # default: Authorization Accept X-Requested-With
//		ignore_in_key <method|host|uri|header...>
//		ttl <duration>                           # default: 1m
//		negative_ttl <duration>
//		require <field> [<value...>]
//		stale_if_error <duration>
//		tag <template...>
//		name <name>
//		timeout <duration>
//		max_concurrent <n>
//		tls_ca <pem file...>
//		header_up [+|-]<field> [<value>]
//		trusted_proxies <network...>
//		transport http { … }
//		@<name> [status <code...>] [header <field> [<value>]]
//		handle_response [@<name>] { … }
//	}
func (a *forwardAuth) unmarshal(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("%s takes one upstream, like authelia:9091, and has %d", AuthDirective, len(args))
	}
	if err := a.setUpstream(args[0]); err != nil {
		return d.WrapErr(err)
	}
	a.start = *d // for an error that names the directive's line
	start := &a.start
	if err := a.Options().Unmarshal(d, AuthDirective); err != nil {
		return err
	}
	switch {
	case a.uri == "":
		return start.Errf("%s needs the uri to ask, like: uri /api/authz/forward-auth", AuthDirective)
	case strings.Contains(strings.SplitN(a.uri, "?", 2)[0], "://"):
		return start.Errf("uri has a scheme and a host, which are those of the upstream: write the path alone, like: uri /api/authz/forward-auth")
	}
	if err := a.checkKept(); err != nil {
		return start.WrapErr(err)
	}
	if err := checkURI(a.uri); err != nil {
		return start.WrapErr(err)
	}
	for _, name := range a.headers {
		if err := a.checkHeader(name); err != nil {
			return start.WrapErr(err)
		}
	}
	return nil
}

// checkHeader refuses a client's header that the authentication server could take for
// one of this server.
func (a *forwardAuth) checkHeader(name string) error {
	for _, f := range forwardedHeaders {
		if sameHeader(name, f.header) {
			return fmt.Errorf("headers: %s is always sent, with the value of this server and never with the client's: leave it out", f.header)
		}
	}
	if a.cookies != nil && http.CanonicalHeaderKey(name) == "Cookie" {
		return errors.New("headers: the option cookies chooses the cookies that are sent: leave out Cookie, or leave out cookies to send them all")
	}
	if isCopy(name, a.copies) && !isCredential(name) {
		return fmt.Errorf("headers: %s is also one of copy_headers: the authentication server could take a client's value "+
			"for one of this server: leave it out of headers or of copy_headers", name)
	}
	return nil
}

// checkKept refuses a require or a tag with a header of the answer that is not kept,
// because copy_headers does not name it, and gives the others the name of copy_headers.
func (a *forwardAuth) checkKept() error {
	for i := range a.session.Require {
		if err := a.checkRequired(&a.session.Require[i].Field); err != nil {
			return err
		}
	}
	for i := range a.session.Tags {
		if err := a.checkTag(&a.session.Tags[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *forwardAuth) checkRequired(field *string) error {
	name, below := strings.CutPrefix(*field, responseHeaders+".")
	for i := range a.copies {
		source := a.source.CopyHeaders[i]
		switch {
		case below && strings.EqualFold(name, source):
			*field = responseHeaders + "." + source
		case !below && !strings.Contains(name, "-"): // a field of a JSON answer
		case !below && strings.EqualFold(name, source), strings.EqualFold(name, a.copies[i].Header) && !a.keeps(name):
			return fmt.Errorf("require %s: that is a header of the answer: write require %s.%s", *field, responseHeaders, source)
		}
	}
	if below && !a.keeps(name) {
		return notKept("require", name)
	}
	return nil
}

func (a *forwardAuth) checkTag(tag *string) error {
	for _, found := range headerPlaceholder.FindAllStringSubmatch(*tag, -1) {
		if !a.keeps(found[1]) {
			return notKept("tag", found[1])
		}
		for _, source := range a.source.CopyHeaders {
			if strings.EqualFold(found[1], source) {
				*tag = strings.ReplaceAll(*tag, found[0], "{"+lookup.SessionPrefix+responseHeaders+"."+source+"}")
			}
		}
	}
	return nil
}

// keeps reports whether the value of a header of the answer is kept.
func (a *forwardAuth) keeps(name string) bool {
	return slices.ContainsFunc(a.source.CopyHeaders, func(kept string) bool { return strings.EqualFold(kept, name) })
}

func notKept(option, name string) error {
	return fmt.Errorf("%s: the header %s of the answer is not kept: write copy_headers %s as well", option, name, name)
}

// headerPlaceholder is a placeholder of a header of the answer.
var headerPlaceholder = regexp.MustCompile(`\{` + regexp.QuoteMeta(lookup.SessionPrefix+responseHeaders+".") + `([^{}]+)\}`)

// checkURI refuses placeholders that are not sent as forward_auth sends them: in
// the URL of a source, a value cannot leave its segment or parameter.
func checkURI(uri string) error {
	path, query, _ := strings.Cut(uri, "?")
	if found := severalSegments.FindStringSubmatch(path); found != nil {
		return fmt.Errorf("uri: {%s} in the path would be sent as one segment, with %%2F for its slashes: the server gets the URI as X-Forwarded-Uri; "+
			"leave it out, or send it as a parameter, like: uri /auth?uri={uri}", found[1])
	}
	if found := severalParameters.FindStringSubmatch("&" + query); found != nil {
		return fmt.Errorf("uri: {%s} would be sent as one parameter, and not as the query: the server gets the query with X-Forwarded-Uri; "+
			"leave it out, or send it as a parameter, like: uri /auth?query={query}", found[1])
	}
	return nil
}

var (
	severalSegments   = regexp.MustCompile(`\{(http\.request\.(?:orig_)?uri(?:\.path|\.path\.dir|\.query|\.prefixed_query)?)\}`)
	severalParameters = regexp.MustCompile(`&\{(http\.request\.(?:orig_)?uri\.(?:query|prefixed_query))\}`)
)

// isCredential reports whether a header has the credentials of a client in HTTP, which
// the authentication server verifies. Such headers are part of the identity.
func isCredential(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return name == "Authorization" || name == "Cookie"
}

func (a *forwardAuth) setUpstream(text string) error {
	if strings.HasPrefix(text, "unix/") {
		a.upstream = authUpstream{address: "localhost", dial: text}
		return nil
	}
	scheme, address, explicit := strings.Cut(text, "://")
	if !explicit {
		scheme, address = "", text
	}
	scheme = strings.ToLower(scheme)
	if scheme == "h2c" {
		scheme, a.upstream.h2c = "http", true
	}
	if strings.HasPrefix(address, ":") { // a port of this machine
		address = "localhost" + address
	}
	// a placeholder may be any part of the host
	u, err := url.Parse("http://" + runtimePlaceholder.ReplaceAllString(address, "placeholder"))
	switch {
	case strings.Contains(address, "{http."):
		return errors.New("upstream: a placeholder of the request is not possible, because a client must not choose which server is asked: " +
			"want host:port, and a block of its own for each server")
	case err != nil || u.Host == "" || scheme != "" && scheme != "http" && scheme != "https":
		return errors.New("upstream is not right: want host:port, http://host:port, https://host, h2c://host:port or unix//path")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.User != nil:
		return errors.New("upstream has more than a host and a port: write the path as uri")
	}
	a.upstream.scheme, a.upstream.address = scheme, strings.TrimSuffix(address, "/")
	return nil
}

// runtimePlaceholder is a placeholder that is replaced when the configuration
// is loaded.
var runtimePlaceholder = regexp.MustCompile(`\{(env|file|system)\.[^{}]+\}`)

// Options are the lines of the directive's block.
func (a *forwardAuth) Options() directive.Options {
	options := directive.Options{
		directive.Text("uri", "<to>", &a.uri),
		{Name: "copy_headers", Args: "<field>[>Header-Name]...", Repeatable: true, Read: a.unmarshalCopies},
		{Name: "cookies", Args: "<name...>", Read: names(&a.cookies)},
		{Name: "headers", Args: "<name...>", Read: names(&a.headers)},
		{Name: "ignore_in_key", Args: "<method|host|uri|header...>", Repeatable: true, Read: names(&a.ignored)},
	}
	options = append(options, a.session.Options().Pick("ttl", "negative_ttl", "require", "stale_if_error", "tag", "name")...)
	options = append(options, a.source.Options().Pick("timeout", "max_concurrent", "tls_ca")...)
	return append(append(options, a.proxyOptions()...), refusedProxyOptions()...)
}

// ForwardAuthOptions are the lines of the directive's block, for the test that compares
// them with the documentation.
func ForwardAuthOptions() directive.Options { return new(forwardAuth).Options() }

// names reads one or more names of headers or cookies.
func names(into *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("%s takes one name or more", option)
		}
		for _, arg := range args {
			if !httpguts.ValidHeaderFieldName(arg) || strings.Contains(arg, "*") {
				return d.Errf("%s: '%s' is not a name: want whole names, one or more", option, arg)
			}
		}
		*into = append(*into, args...)
		return nil
	}
}

func (a *forwardAuth) unmarshalCopies(d *caddyfile.Dispenser) error {
	var copies Handler
	if err := copies.unmarshalCopies(d); err != nil {
		return err
	}
	for _, c := range copies.CopyHeaders {
		if !httpguts.ValidHeaderFieldName(c.Field) || strings.Contains(c.Field, "*") {
			return d.Errf("copy_headers: '%s' is not the name of a header", c.Field)
		}
		if c.Header == "" {
			c.Header = c.Field
		}
		a.source.CopyHeaders = append(a.source.CopyHeaders, c.Field)
		a.copies = append(a.copies, HeaderCopy{Field: "headers." + c.Field, Header: c.Header})
	}
	return nil
}
