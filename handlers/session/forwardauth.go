// The shortcut cached_forward_auth: what forward_auth asks, remembered.

package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	httpsource "github.com/filewallball/caddy-filewallball/handlers/source/http"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// AuthDirective is the name of the shortcut.
const AuthDirective = "cached_forward_auth"

// authTTL is how long an answer is remembered where nothing else is configured.
const authTTL = time.Minute

// forwardAuth is the directive as it is written.
type forwardAuth struct {
	upstream *url.URL
	uri      string
	copies   []HeaderCopy
	cookies  []string // nil: all
	headers  []string
	ignored  []string

	session Handler
	source  httpsource.Source
}

// forwardedHeaders are the headers that tell the authentication server of the
// request, as reverse_proxy and forward_auth send them. The words are those of
// ignore_in_key.
var forwardedHeaders = []struct{ word, header, value string }{
	{"method", "X-Forwarded-Method", "{http.request.method}"},
	{"proto", "X-Forwarded-Proto", "{" + template.ForwardedProto + "}"},
	{"host", "X-Forwarded-Host", "{" + template.ForwardedHost + "}"},
	{"uri", "X-Forwarded-Uri", "{http.request.uri}"},
	{"for", "X-Forwarded-For", "{http.vars.client_ip}"},
}

// ParseForwardAuth reads the cached_forward_auth directive.
func ParseForwardAuth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	a := new(forwardAuth)
	if err := a.unmarshal(h.Dispenser); err != nil {
		return nil, err
	}
	if a.session.Name == "" {
		a.session.Name = lookup.PositionName(h, AuthDirective)
	}
	return a.handler()
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
	start := *d // for an error that names the directive's line
	if err := a.Options().Unmarshal(d, AuthDirective); err != nil {
		return err
	}
	if a.uri == "" {
		return start.Errf("%s needs the uri to ask, like: uri /api/authz/forward-auth", AuthDirective)
	}
	return nil
}

func (a *forwardAuth) setUpstream(text string) error {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("upstream is not right: want host:port, http://host:port or https://host")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.User != nil:
		return fmt.Errorf("upstream has more than a host and a port: write the path as uri")
	}
	a.upstream = u
	return nil
}

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
	return append(options, a.source.Options().Pick("timeout", "max_concurrent", "tls_ca")...)
}

// ForwardAuthOptions are the lines of the directive's block, for the test of the
// documentation.
func ForwardAuthOptions() directive.Options { return new(forwardAuth).Options() }

// names reads names of headers or cookies, one at least.
func names(into *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("%s takes one name or more", option)
		}
		for _, arg := range args {
			if !httpguts.ValidHeaderFieldName(arg) {
				return d.Errf("%s: '%s' is not a name", option, arg)
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
		if !httpguts.ValidHeaderFieldName(c.Field) {
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

// handler is the session_lookup that the directive stands for.
func (a *forwardAuth) handler() (*Handler, error) {
	s, src := &a.session, &a.source
	src.URL = strings.TrimSuffix(a.upstream.String(), "/") + "/" + strings.TrimPrefix(a.uri, "/")
	src.CacheControl = "ignore"
	src.Headers = make(http.Header)
	for _, f := range forwardedHeaders {
		src.Headers.Set(f.header, f.value)
		if slices.Contains(a.ignored, f.word) {
			src.IgnoreInKey = append(src.IgnoreInKey, f.header)
		}
	}
	// as reverse_proxy does, which asks an https upstream by its own name
	if src.PreserveHost = a.upstream.Scheme == "http"; src.PreserveHost && slices.Contains(a.ignored, "host") {
		src.IgnoreInKey = append(src.IgnoreInKey, "Host")
	}
	a.identify()
	s.CopyHeaders = a.copies
	s.OnAnonymous = &lookup.Reaction{Ask: true}
	s.OnMissing, s.OnDenied, s.OnError = &lookup.Reaction{Pass: true}, &lookup.Reaction{Pass: true}, &lookup.Reaction{Pass: true}
	if s.TTL == 0 {
		s.TTL = caddy.Duration(authTTL)
	}
	for _, word := range a.ignored {
		if err := a.checkIgnored(word); err != nil {
			return nil, err
		}
	}
	s.SourceRaw = caddyconfig.JSONModuleObject(src, "source", "http", nil)
	s.Key = "session:auth:" + a.fingerprint() + ":{id}"
	return s, nil
}

// identify chooses what says who it is, and sends the other headers beside it.
func (a *forwardAuth) identify() {
	headers := a.headers
	if headers == nil {
		headers = []string{"Authorization", "Accept", "X-Requested-With"}
	}
	if a.cookies == nil {
		headers = append([]string{"Cookie"}, headers...)
	}
	for _, name := range a.cookies {
		a.session.ID = append(a.session.ID, "{http.request.cookie."+name+"}")
	}
	for _, name := range headers {
		name = http.CanonicalHeaderKey(name)
		value := "{http.request.header." + name + "}"
		ignored := slices.ContainsFunc(a.ignored, func(word string) bool { return strings.EqualFold(word, name) })
		if (name == "Authorization" || name == "Cookie") && !ignored {
			a.session.ID = append(a.session.ID, value)
			continue
		}
		a.source.Headers.Set(name, value)
		if ignored {
			a.source.IgnoreInKey = append(a.source.IgnoreInKey, name)
		}
	}
}

// checkIgnored refuses a word that stands for nothing that is sent.
func (a *forwardAuth) checkIgnored(word string) error {
	for _, f := range forwardedHeaders {
		if f.word == word {
			return nil
		}
	}
	if strings.EqualFold(word, "Cookie") || strings.EqualFold(word, "Authorization") {
		return fmt.Errorf("ignore_in_key: %s says who it is, so one answer cannot serve all its values: "+
			"choose what is sent with cookies and headers", word)
	}
	if a.source.Headers.Get(word) == "" {
		return fmt.Errorf("ignore_in_key: '%s' is not sent: want method, proto, host, uri, for, or one of headers", word)
	}
	return nil
}

// fingerprint tells different questions apart, so that each has keys of its own.
func (a *forwardAuth) fingerprint() string {
	text, _ := json.Marshal([]any{a.session.ID, a.source.URL, a.source.Headers, a.source.IgnoreInKey, a.source.CopyHeaders})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}
