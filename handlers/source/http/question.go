// How an identity, which is client input, gets into the request to the
// application: unchanged, or not at all.

package httpsource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/filewallball/caddy-filewallball/cache"
)

// question is the request to the application, but for the identity.
type question struct {
	method  string
	secure  bool // https
	host    string
	url     urlTemplate
	headers []headerTemplate
}

// httpTemplate is what stands before, between and after the identity.
type httpTemplate []string

type headerTemplate struct {
	name  string
	value httpTemplate
}

// urlTemplate has the escape for each place of the identity in it.
type urlTemplate struct {
	parts   httpTemplate
	escapes []func(string) string
}

// newQuestion makes the question that a configuration describes. identity is
// the template of the lookup's identity. Errors name placeholders and headers,
// but never hold what placeholders stand for.
func newQuestion(method, rawURL string, headers http.Header, identity string) (question, error) {
	q := question{method: method}
	parts, err := newHTTPTemplate(rawURL)
	if err != nil {
		return q, fmt.Errorf("url: %w", err)
	}
	if q.url, q.secure, err = newURLTemplate(parts); err != nil {
		return q, fmt.Errorf("url: %w", err)
	}
	if len(headers) == 0 {
		if h, ok := forwarded(identity); ok {
			q.headers = append(q.headers, h)
		}
	}
	for name, values := range headers {
		for _, value := range values {
			if err := q.addHeader(name, value); err != nil {
				return q, fmt.Errorf("header '%s': %w", name, err)
			}
		}
	}
	if !q.tellsIdentity() {
		return q, errors.New("nothing in the request tells the identity, so every identity would get the same answer: " +
			"put {id} into the URL or a header, or make the identity exactly {cookie.NAME} or {header.NAME} and set no headers")
	}
	return q, nil
}

// newHTTPTemplate splits a text at {id} and resolves all other placeholders.
func newHTTPTemplate(text string) (httpTemplate, error) {
	parts := strings.Split(text, cache.IDPlaceholder)
	repl := caddy.NewReplacer()
	for i, part := range parts {
		resolved, err := repl.ReplaceOrErr(part, false, true)
		if err != nil {
			return nil, fmt.Errorf("%w: a source may see nothing of a request but its identity, "+
				"so make it part of the identity and write %s here", err, cache.IDPlaceholder)
		}
		parts[i] = resolved
	}
	return parts, nil
}

// hasID tells whether the identity stands in the template at all.
func (t httpTemplate) hasID() bool { return len(t) > 1 }

// isID tells whether the template is the identity and nothing else.
func (t httpTemplate) isID() bool { return len(t) == 2 && t[0] == "" && t[1] == "" }

func (t httpTemplate) with(id string) string { return strings.Join(t, id) }

// newURLTemplate checks that the identity can stand where it does.
func newURLTemplate(parts httpTemplate) (t urlTemplate, secure bool, err error) {
	// as if the identity were a slash, the worst it can be
	text := parts.with("%2F")
	u, err := url.Parse(text)
	if err == nil {
		_, err = url.QueryUnescape(u.RawQuery)
	}
	switch {
	case err != nil:
		// the reason would repeat parts of the URL, and there may be secrets in it
		return t, false, errors.New("it is not a URL: want one like https://app.internal/verify?id={id}")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return t, false, errors.New("it is not complete: want http:// or https:// and a host in front")
	case u.User != nil:
		return t, false, errors.New("it has a user in front of the host: send credentials in a header")
	case strings.ContainsAny(text, "# "):
		return t, false, errors.New("it has a space or a fragment: write %20 for a space, %23 for #")
	case hasDotSegment(staticPath(u)):
		return t, false, errors.New("its path has a segment . or ..: write the path they lead to")
	}
	_, rest, _ := strings.Cut(parts[0], "://")
	if parts.hasID() && !strings.ContainsAny(rest, "/?") {
		return t, false, errors.New("{id} is in the host: a client must not choose who is asked")
	}
	inQuery := false
	for _, part := range parts[:len(parts)-1] {
		inQuery = inQuery || strings.Contains(part, "?")
		if inQuery {
			t.escapes = append(t.escapes, url.QueryEscape)
			continue
		}
		// Go would decode such a path and encode it anew, slashes excepted
		if u.EscapedPath() != u.RawPath {
			return t, false, errors.New("its path has a character that cannot stand in a URL: write it percent-encoded")
		}
		t.escapes = append(t.escapes, url.PathEscape)
	}
	t.parts = parts
	return t, u.Scheme == "https", nil
}

// staticPath is the decoded path with a harmless identity.
func staticPath(u *url.URL) string {
	path, _ := url.PathUnescape(strings.ReplaceAll(u.EscapedPath(), "%2F", "id"))
	return path
}

func (t urlTemplate) with(id string) string {
	var b strings.Builder
	for i, part := range t.parts {
		if i > 0 {
			b.WriteString(t.escapes[i-1](id))
		}
		b.WriteString(part)
	}
	return b.String()
}

// hasDotSegment tells whether a path, once decoded, has a segment that leads
// somewhere else, also for servers that take a backslash for a slash or strip
// what follows a semicolon.
func hasDotSegment(path string) bool {
	isSlash := func(r rune) bool { return r == '/' || r == '\\' }
	for segment := range strings.FieldsFuncSeq(path, isSlash) {
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// addHeader adds a header of the configuration.
func (q *question) addHeader(name, text string) error {
	value, err := newHTTPTemplate(text)
	if err != nil {
		return err
	}
	// spaces around a value are no part of it
	value[0] = strings.TrimLeft(value[0], " \t")
	last := len(value) - 1
	value[last] = strings.TrimRight(value[last], " \t")
	name = http.CanonicalHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return errors.New("that is not the name of a header")
	case ofConnection(name):
		return errors.New("it belongs to the connection and cannot be set")
	case !httpguts.ValidHeaderFieldValue(value.with("")):
		return errors.New("its value has a character that cannot stand in a header")
	case name == "Host" && value.hasID():
		return errors.New("{id} is in the host: a client must not choose who is asked")
	case name == "Host":
		q.host = value.with("")
		return nil
	}
	q.headers = append(q.headers, headerTemplate{name, value})
	return nil
}

// ofConnection tells whether a header speaks about the connection or the
// framing of the message, which are the transport's.
func ofConnection(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// forwarded is the header in which an identity of exactly {cookie.NAME} or
// {header.NAME} came, which Caddyfiles turn into {http.request.cookie.NAME}
// and {http.request.header.NAME}.
func forwarded(identity string) (h headerTemplate, ok bool) {
	name, opens := strings.CutPrefix(identity, "{")
	name, closes := strings.CutSuffix(name, "}")
	if !opens || !closes {
		return h, false
	}
	name = strings.TrimPrefix(name, "http.request.")
	if cookie, ok := strings.CutPrefix(name, "cookie."); ok {
		// a cookie's name has the grammar of a header's
		return headerTemplate{"Cookie", httpTemplate{cookie + "=", ""}}, httpguts.ValidHeaderFieldName(cookie)
	}
	name, ok = strings.CutPrefix(name, "header.")
	if !ok || !httpguts.ValidHeaderFieldName(name) {
		return h, false
	}
	name = http.CanonicalHeaderKey(name)
	return headerTemplate{name, httpTemplate{"", ""}}, name != "Host" && !ofConnection(name)
}

func (q *question) tellsIdentity() bool {
	if q.url.parts.hasID() {
		return true
	}
	for _, h := range q.headers {
		if h.value.hasID() {
			return true
		}
	}
	return false
}

// about is the request that asks about an identity. ok is false where the
// application would not receive the identity as it is.
func (q *question) about(ctx context.Context, id string) (req *http.Request, ok bool) {
	if id == "" {
		return nil, false
	}
	req, err := http.NewRequestWithContext(ctx, q.method, q.url.with(id), nil)
	if err != nil || hasDotSegment(req.URL.Path) {
		return nil, false
	}
	if q.host != "" {
		req.Host = q.host
	}
	for _, h := range q.headers {
		value := h.value.with(id)
		if h.value.hasID() && !h.carries(value, id) {
			return nil, false
		}
		req.Header.Add(h.name, value)
	}
	return req, true
}

// carries tells whether the identity arrives in the header as it is.
func (h headerTemplate) carries(value, id string) bool {
	if !httpguts.ValidHeaderFieldValue(value) || strings.Trim(value, " \t") != value {
		return false
	}
	// a whole Cookie header is what its client sent, and says what it says
	return h.name != "Cookie" || h.value.isID() || isCookieValue(id)
}

// isCookieValue tells whether all readers of cookies take the value as it is
// (RFC 6265, section 4.1.1, without the quotes).
func isCookieValue(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case b <= ' ', b >= 0x7f, b == '"', b == ',', b == ';', b == '\\':
			return false
		}
	}
	return true
}
