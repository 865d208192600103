// What parts of a request, which is client input, reach the application:
// unchanged or not at all.

package httpsource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/filewallball/caddy-filewallball/cache"
)

// question is the request to the application, with slots for the values of each
// client request.
type question struct {
	method  string
	secure  bool // https
	host    string
	url     urlTemplate
	headers []headerTemplate
	cookies []cookieTemplate // parts of the identity, sent unchanged
	// values are the templates of the values, other than the identity, that the
	// request contains.
	values []string
}

type headerTemplate struct {
	name  string
	value textTemplate
}

type cookieTemplate struct {
	name  string
	value slot
}

// newQuestion makes the question of a configuration. identity has the templates
// of the identity's parts. Errors name placeholders and headers, but never
// contain the values of placeholders.
func newQuestion(method, rawURL string, headers http.Header, identity []string) (question, error) {
	q := question{method: method}
	p := templateParser{parts: max(1, len(identity))}
	text, err := p.parse(rawURL)
	if err != nil {
		return q, fmt.Errorf("url: %w", err)
	}
	if q.url, q.secure, err = newURLTemplate(text); err != nil {
		return q, fmt.Errorf("url: %w", err)
	}
	// sorted: keys contain the values in this order, and other processes share
	// the keys
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, value := range headers[name] {
			if err := q.addHeader(&p, name, value); err != nil {
				return q, fmt.Errorf("header '%s': %w", name, err)
			}
		}
	}
	q.forwardParts(identity)
	slices.SortStableFunc(q.headers, func(a, b headerTemplate) int { return strings.Compare(a.name, b.name) })
	q.values = p.values
	if !q.tellsIdentity() {
		return q, errors.New("nothing in the request tells the identity, so every identity would get the same answer: " +
			"put {id} into the URL or a header, or make the identity exactly {cookie.NAME} or {header.NAME}, which is sent as it came")
	}
	return q, nil
}

// addHeader adds a header of the configuration.
func (q *question) addHeader(p *templateParser, name, text string) error {
	value, err := p.parse(text)
	if err != nil {
		return err
	}
	// surrounding spaces are not part of a value
	value.texts[0] = strings.TrimLeft(value.texts[0], " \t")
	last := len(value.texts) - 1
	value.texts[last] = strings.TrimRight(value.texts[last], " \t")
	name = http.CanonicalHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return errors.New("that is not the name of a header")
	case ofConnection(name):
		return errors.New("it belongs to the connection and cannot be set")
	case !httpguts.ValidHeaderFieldValue(value.filledWith("")):
		return errors.New("its value has a character that cannot stand in a header")
	case name == "Host" && len(value.slots) > 0:
		return errors.New("a placeholder of the request is in the host: a client must not choose the server that is asked")
	case name == "Host":
		q.host = value.texts[0]
		return nil
	}
	q.headers = append(q.headers, headerTemplate{name, value})
	return nil
}

// preserveHost sends the Host of the client's request instead of the URL's. It
// becomes one of the values that the answer depends on.
func (q *question) preserveHost(withPort bool) {
	p := templateParser{parts: 1, values: q.values}
	name := "http.request.host"
	if withPort {
		name = "http.request.hostport"
	}
	index := p.valueOf(name)
	q.values = p.values
	q.headers = append(q.headers, headerTemplate{"Host", textTemplate{
		texts: []string{"", ""}, slots: []slot{{part: -1, value: index}},
	}})
}

// ofConnection reports whether a header belongs to the connection or the
// framing of a message, which the transport sets.
func ofConnection(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// forwardParts sends identity parts that are exactly {cookie.NAME} or
// {header.NAME}, which Caddyfiles expand to {http.request.cookie.NAME} and
// {http.request.header.NAME}, unchanged. A header of the configuration takes
// precedence.
func (q *question) forwardParts(identity []string) {
	set := make(map[string]bool)
	for _, h := range q.headers {
		set[h.name] = true
	}
	for i, part := range identity {
		s := slot{part: i + 1}
		name, opens := strings.CutPrefix(part, "{")
		name, closes := strings.CutSuffix(name, "}")
		if !opens || !closes {
			continue
		}
		name = strings.TrimPrefix(name, "http.request.")
		if cookie, ok := strings.CutPrefix(name, "cookie."); ok {
			// a cookie's name has the grammar of a header's
			if httpguts.ValidHeaderFieldName(cookie) && !set["Cookie"] {
				q.cookies = append(q.cookies, cookieTemplate{cookie, s})
			}
			continue
		}
		name, ok := strings.CutPrefix(name, "header.")
		name = http.CanonicalHeaderKey(name)
		if ok && httpguts.ValidHeaderFieldName(name) && name != "Host" && !ofConnection(name) && !set[name] {
			q.headers = append(q.headers, headerTemplate{name, textTemplate{texts: []string{"", ""}, slots: []slot{s}}})
		}
	}
}

func (q *question) tellsIdentity() bool {
	return len(q.cookies) > 0 || q.namesIdentity() ||
		slices.ContainsFunc(q.headers, func(h headerTemplate) bool { return h.value.hasIdentity() })
}

// namesIdentity reports whether the URL or a header contains the identity,
// other than the cookies and headers that are sent unchanged.
func (q *question) namesIdentity() bool {
	return q.url.text.hasIdentity() ||
		slices.ContainsFunc(q.headers, func(h headerTemplate) bool { return h.value.hasIdentity() && !h.value.isSlot() })
}

// about is the request for an identity. ok is false if the application would
// not receive the identity unchanged.
func (q *question) about(ctx context.Context, lookedUp *cache.Request) (req *http.Request, ok bool) {
	req, err := http.NewRequestWithContext(ctx, q.method, q.url.about(lookedUp), nil)
	if err != nil || hasDotSegment(req.URL.Path) {
		return nil, false
	}
	if q.host != "" {
		req.Host = q.host
	}
	for _, h := range q.headers {
		value := h.value.with(func(_ int, s slot) string { return s.of(lookedUp) })
		if len(h.value.slots) > 0 {
			if h.value.isSlot() && value == "" {
				continue // the client did not send it
			}
			if !h.carries(value, lookedUp) {
				return nil, false
			}
		}
		if h.name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(h.name, value)
	}
	return req, q.addCookies(req, lookedUp)
}

// addCookies sends the cookies of the identity. A cookie that the client sent
// several times has its values joined by semicolons, and is sent as often.
func (q *question) addCookies(req *http.Request, lookedUp *cache.Request) bool {
	var pairs []string
	for _, c := range q.cookies {
		all := c.value.of(lookedUp)
		if all == "" {
			continue
		}
		for value := range strings.SplitSeq(all, ";") {
			if !isCookieValue(value) {
				return false
			}
			pairs = append(pairs, c.name+"="+value)
		}
	}
	if pairs != nil {
		req.Header.Add("Cookie", strings.Join(pairs, "; "))
	}
	return true
}

// carries reports whether a value reaches the application unchanged in this
// header.
func (h headerTemplate) carries(value string, lookedUp *cache.Request) bool {
	if h.name == "Host" && !httpguts.ValidHostHeader(value) {
		return false
	}
	if !httpguts.ValidHeaderFieldValue(value) || strings.Trim(value, " \t") != value {
		return false
	}
	// a whole Cookie header is forwarded as the client sent it
	if h.name != "Cookie" || h.value.isSlot() {
		return true
	}
	return !slices.ContainsFunc(h.value.slots, func(s slot) bool { return !isCookieValue(s.of(lookedUp)) })
}

// isCookieValue reports whether all parsers of cookies read the value unchanged
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
