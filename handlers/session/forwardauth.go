// The shortcut cached_forward_auth: forward_auth whose answers are cached.

package session

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	httpsource "github.com/filewallball/caddy-filewallball/handlers/source/http"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// AuthDirective is the name of the shortcut.
const AuthDirective = "cached_forward_auth"

// authTTL is the default of ttl.
const authTTL = time.Minute

// forwardAuth is the directive as written in the Caddyfile.
type forwardAuth struct {
	upstream authUpstream
	uri      string
	copies   []HeaderCopy
	cookies  []string // nil: all cookies
	headers  []string
	ignored  []string
	ups      []headerUp

	transport *reverseproxy.HTTPTransport // nil: the default transport of the source
	matchers  map[string]caddyhttp.ResponseMatcher
	responses []*caddyfile.Dispenser // each a handle_response
	start     caddyfile.Dispenser    // at the directive's line

	session Handler
	source  httpsource.Source
}

// authUpstream is the server to ask.
type authUpstream struct {
	scheme  string // http, https, or "" for the scheme of the transport
	address string // host and port
	dial    string // the address to connect to instead, or ""
	h2c     bool   // HTTP/2 without TLS
}

// forwardedHeaders are the headers that describe the request to the
// authentication server, as reverse_proxy and forward_auth send them. word is
// their name in ignore_in_key.
var forwardedHeaders = []struct{ word, header, value string }{
	{"method", "X-Forwarded-Method", "{http.request.method}"},
	{"proto", "X-Forwarded-Proto", "{" + template.ForwardedProto + "}"},
	{"host", "X-Forwarded-Host", "{" + template.ForwardedHost + "}"},
	{"uri", "X-Forwarded-Uri", "{http.request.uri}"},
	{"for", "X-Forwarded-For", "{" + template.ForwardedFor + "}"},
}

// handler is the session_lookup that the directive stands for.
func (a *forwardAuth) handler() (*Handler, error) {
	s, src := &a.session, &a.source
	if err := a.connect(); err != nil {
		return nil, err
	}
	src.CacheControl = "ignore"
	src.Headers = make(http.Header)
	for _, f := range forwardedHeaders {
		src.Headers.Set(f.header, f.value)
	}
	if err := a.identify(); err != nil {
		return nil, err
	}
	if err := a.applyHeaderUp(); err != nil {
		return nil, err
	}
	if err := a.ignoreInKey(); err != nil {
		return nil, err
	}
	s.CopyHeaders = a.copies
	s.OnAnonymous = &lookup.Reaction{Ask: true}
	s.OnMissing, s.OnDenied, s.OnError = &lookup.Reaction{Pass: true}, &lookup.Reaction{Pass: true}, &lookup.Reaction{Pass: true}
	if s.TTL == 0 {
		s.TTL = caddy.Duration(authTTL)
	}
	s.SourceRaw = caddyconfig.JSONModuleObject(src, "source", "http", nil)
	// the key has the fingerprint of the source and the ttl, so that a lookup with a
	// short ttl never uses a record that was stored for a longer time
	s.Key = "session:auth:{source}:{id}"
	if s.TTL != caddy.Duration(authTTL) {
		s.Key = "session:auth:" + time.Duration(s.TTL).String() + ":{source}:{id}"
	}
	return s, nil
}

// connect sets the URL and the transport. As with reverse_proxy, an http upstream gets
// the Host of the request, an https upstream its own.
func (a *forwardAuth) connect() error {
	scheme := a.upstream.scheme
	if a.upstream.h2c {
		if a.transport == nil {
			a.transport = new(reverseproxy.HTTPTransport)
		}
		a.transport.Versions = []string{"h2c", "2"} // as in reverse_proxy
	}
	if t := a.transport; t != nil {
		switch {
		case a.upstream.dial != "":
			return errors.New("transport is not possible with a unix socket: leave it out")
		case scheme == "http" && t.TLS != nil:
			return errors.New("the upstream is http:// but its transport has tls: write https://")
		case scheme == "https" && t.TLS == nil:
			t.TLS = new(reverseproxy.TLSConfig)
		case t.TLS != nil:
			scheme = "https"
		}
		a.source.TransportRaw = caddyconfig.JSONModuleObject(t, "protocol", "http", nil)
	}
	scheme = cmp.Or(scheme, "http")
	a.source.PreserveHost = scheme == "http"
	a.source.Dial = a.upstream.dial
	a.source.URL = scheme + "://" + a.upstream.address + "/" + strings.TrimPrefix(a.uri, "/")
	return nil
}

// identify chooses the headers that form the identity. The other ones are sent as well.
func (a *forwardAuth) identify() error {
	headers := a.headers
	if headers == nil {
		headers = []string{"Authorization", "Accept", "X-Requested-With"}
	}
	switch {
	case a.cookies == nil:
		headers = append([]string{"Cookie"}, headers...) // once, also where headers names it
	case !a.replaced("Cookie"):
		for _, name := range a.cookies {
			a.session.ID = append(a.session.ID, "{http.request.cookie."+name+"}")
		}
	}
	for _, name := range headers {
		name = http.CanonicalHeaderKey(name)
		value := "{http.request.header." + name + "}"
		if a.replaced(name) || slices.Contains(a.session.ID, value) {
			continue
		}
		if isCredential(name) {
			a.session.ID = append(a.session.ID, value)
			continue
		}
		a.source.Headers.Set(name, value)
	}
	if len(a.session.ID) == 0 {
		return errors.New("nothing identifies the client: cookies or the header Authorization must be sent unchanged")
	}
	return nil
}

// ignoreInKey takes the headers of ignore_in_key out of the key.
func (a *forwardAuth) ignoreInKey() error {
	for _, word := range a.ignored {
		if err := a.checkIgnored(word); err != nil {
			return err
		}
		name := http.CanonicalHeaderKey(word)
		for _, f := range forwardedHeaders {
			if f.word == word {
				name = f.header
			}
		}
		if a.source.Headers.Get(name) != "" { // header_up may have deleted it
			a.source.IgnoreInKey = append(a.source.IgnoreInKey, name)
		}
		if word == "host" && a.source.PreserveHost {
			a.source.IgnoreInKey = append(a.source.IgnoreInKey, "Host")
		}
	}
	return nil
}

// checkIgnored refuses a word of ignore_in_key for a header that is not sent.
func (a *forwardAuth) checkIgnored(word string) error {
	for _, f := range forwardedHeaders {
		switch {
		case f.word == word:
			return nil
		case strings.EqualFold(f.word, word), sameHeader(f.header, word):
			return fmt.Errorf("ignore_in_key: '%s' is not right: write %s", word, f.word)
		}
	}
	if isCredential(word) {
		return fmt.Errorf("ignore_in_key: %s identifies the client, so one answer cannot serve all its values: "+
			"choose what is sent with cookies and headers", word)
	}
	if a.source.Headers.Get(word) == "" {
		return fmt.Errorf("ignore_in_key: '%s' is not sent: want method, proto, host, uri, for, or one of headers", word)
	}
	return nil
}
