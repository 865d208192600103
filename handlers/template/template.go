// Package template expands texts with placeholders for each request.
package template

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Template is a text with placeholders. Most templates are one placeholder and nothing
// else, which is expanded without a search and without a copy of its value; many
// placeholders of a request are read from it without the replacer.
type Template struct {
	text  string
	plain bool                       // text has no placeholder
	only  string                     // the name of the placeholder that is the whole text, or ""
	read  func(*http.Request) string // reads that placeholder, or nil
	// special reports whether the text has, among other things, a placeholder whose value
	// is not that of the replacer.
	special bool
}

// New returns a template; any text is one.
func New(text string) Template {
	t := Template{text: text, plain: !strings.ContainsAny(text, "{}")}
	if name, ok := strings.CutPrefix(text, "{"); ok {
		name, ok = strings.CutSuffix(name, "}")
		if ok && name != "" && !strings.ContainsAny(name, `{}\:`) && !strings.HasPrefix(name, "file.") {
			t.only, t.read = name, reader(name)
		}
	}
	lower := strings.ToLower(text)
	t.special = t.only == "" && (strings.Contains(lower, "{"+headerPrefix+"cookie}") || strings.Contains(lower, "{"+certPrefix))
	return t
}

// NewAllCookies is like New, but a text that is one cookie expands to all values of that
// cookie, in the order in which the client sent them. They are joined by semicolons,
// which no value can contain.
func NewAllCookies(text string) Template {
	t := New(text)
	if cookie, ok := strings.CutPrefix(t.only, cookiePrefix); ok {
		t.read = func(r *http.Request) string { return cookieValues(r.Header["Cookie"], cookie) }
	}
	return t
}

// Expand replaces the placeholders; unknown ones and those without a value become empty.
// r is nil if there is no request: all values come from repl then.
func (t Template) Expand(r *http.Request, repl *caddy.Replacer, empty string) string {
	var value string
	switch {
	case t.plain:
		return t.text
	case t.only == "" && t.special && r != nil:
		return t.expandSpecial(r, repl, empty)
	case t.only == "":
		return repl.ReplaceAll(t.text, empty)
	case t.read != nil && r != nil:
		value = t.read(r)
	default:
		value, _ = repl.GetString(t.only)
	}
	if value == "" {
		return empty
	}
	return value
}

// expandSpecial expands a text with the whole Cookie header or a client's certificate in
// it.
func (t Template) expandSpecial(r *http.Request, repl *caddy.Replacer, empty string) string {
	// the only error is that of the function, which returns none
	text, _ := repl.ReplaceFunc(t.text, func(name string, value any) (any, error) {
		switch {
		case isCookieHeader(name):
			value = cookieHeader(r)
		case isClientCert(name):
			value = clientCert(r, value)
		}
		if text := caddy.ToString(value); text != "" {
			return text, nil
		}
		return empty, nil
	})
	return text
}
