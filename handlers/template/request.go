// Placeholders of a request, read from it as Caddy's replacer reads them. Two things are
// ignored: another value that a handler has set in the replacer, and GODEBUG's limit of
// the number of cookies. Two have values of their own: the whole Cookie header, and the
// certificate of a client that has none.

package template

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// Prefixes of the placeholders that are cookies, headers, and of the client's certificate.
const (
	cookiePrefix = "http.request.cookie."
	headerPrefix = "http.request.header."
	certPrefix   = "http.request.tls.client."
)

// reader returns the function that reads a placeholder from a request, or nil if the
// replacer must.
func reader(name string) func(*http.Request) string {
	if name == "http.request.uri.path" {
		return func(r *http.Request) string { return r.URL.Path }
	}
	switch name {
	case ForwardedProto:
		return forwardedProto
	case ForwardedHost:
		return forwardedHost
	case ForwardedFor:
		return forwardedFor
	}
	if cookie, ok := strings.CutPrefix(name, cookiePrefix); ok {
		return func(r *http.Request) string { return cookieValue(r.Header["Cookie"], cookie) }
	}
	if isCookieHeader(name) {
		return cookieHeader
	}
	if isClientCert(name) {
		return func(r *http.Request) string {
			repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			if repl == nil {
				return ""
			}
			value, _ := repl.Get(name)
			return clientCert(r, value)
		}
	}
	if field, ok := strings.CutPrefix(name, headerPrefix); ok {
		field = textproto.CanonicalMIMEHeaderKey(field)
		return func(r *http.Request) string { return strings.Join(r.Header[field], ",") }
	}
	if variable, ok := strings.CutPrefix(name, "http.vars."); ok {
		return func(r *http.Request) string { return caddy.ToString(caddyhttp.GetVar(r.Context(), variable)) }
	}
	return nil
}

// OriginalPath is the path of a request before any rewrite.
func OriginalPath(r *http.Request, repl *caddy.Replacer) string {
	if r != nil {
		if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
			return original.URL.Path
		}
	}
	path, _ := repl.GetString("http.request.orig_uri.path")
	return path
}

// cookieHeader returns the Cookie header of a request in one line. Several
// lines are joined with semicolons (RFC 9113, section 8.2.3). Caddy's
// placeholder joins them with commas, like other headers, which would make one
// wrong cookie of two.
func cookieHeader(r *http.Request) string { return strings.Join(r.Header["Cookie"], "; ") }

// isCookieHeader reports whether a placeholder is the whole Cookie header.
func isCookieHeader(name string) bool {
	field, ok := strings.CutPrefix(name, headerPrefix)
	return ok && textproto.CanonicalMIMEHeaderKey(field) == "Cookie"
}

// isClientCert reports whether a placeholder is of the client's certificate.
func isClientCert(name string) bool { return strings.HasPrefix(strings.ToLower(name), certPrefix) }

// clientCert is the value of a placeholder of the client's certificate, "" if there is no
// certificate. Caddy then has values that are equal for all clients without one: the
// fingerprint of nothing, the serial number <nil>, and lists [].
func clientCert(r *http.Request, value any) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	text := caddy.ToString(value)
	if text == "[]" {
		return ""
	}
	return text
}

// maxCookies is the most cookies that net/http reads. If there are more, it reads none.
const maxCookies = 3000

// cookieValue is the value of the first cookie with that name.
func cookieValue(lines []string, name string) (first string) {
	eachCookie(lines, name, func(value string) bool {
		first = value
		return false
	})
	return first
}

// cookieValues are the values of all cookies with that name, with semicolons
// between. Empty ones are left out.
func cookieValues(lines []string, name string) (all string) {
	eachCookie(lines, name, func(value string) bool {
		switch {
		case all == "":
			all = value
		case value != "":
			all += ";" + value
		}
		return true
	})
	return all
}

// eachCookie calls found with the values of the cookies with a name, in any case, as
// net/http reads cookies (RFC 6265, section 4.2), but without parsing the others. It
// ends when found returns false.
func eachCookie(lines []string, name string, found func(value string) (more bool)) {
	count := 0
	for _, line := range lines {
		count += strings.Count(line, ";") + 1
	}
	if count > maxCookies {
		return
	}
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			// space around a whole pair is not part of the value
			key, value, _ := strings.Cut(textproto.TrimString(pair), "=")
			key = textproto.TrimString(key)
			if !strings.EqualFold(key, name) || !httpguts.ValidHeaderFieldName(key) {
				continue
			}
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			if !strings.ContainsFunc(value, notInCookie) && !found(value) {
				return
			}
		}
	}
}

// notInCookie reports whether a character makes a cookie's value invalid.
func notInCookie(c rune) bool {
	return c < ' ' || c >= 0x7f || c == '"' || c == ';' || c == '\\'
}
