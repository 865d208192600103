// The URI for the next handler, made of a template and a record.

package metadata

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// uriTemplate is a URI with placeholders. The values of a lookup's placeholders cannot
// change the meaning of the rest.
type uriTemplate struct{ parts []uriPart }

type uriPart struct {
	literal string
	field   string // the placeholder after the literal, "" at the end
	query   bool   // the placeholder stands in the query
}

// parseURITemplate finds the placeholders with the prefix.
func parseURITemplate(template, prefix string) *uriTemplate {
	// the value of a field has no leading slash
	if strings.HasPrefix(template, "{"+prefix) {
		template = "/" + template
	}
	t := new(uriTemplate)
	query := false
	for {
		literal, rest, ok := strings.Cut(template, "{"+prefix)
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			t.parts = append(t.parts, uriPart{literal: template})
			return t
		}
		query = query || strings.Contains(literal, "?")
		t.parts = append(t.parts, uriPart{literal: literal, field: prefix + name, query: query})
		template = after
	}
}

var errNoPath = errors.New("the record lacks a field that the rewrite needs")

// expand replaces the lookup's placeholders by their values. The values are escaped:
// they cannot begin a query or a fragment, name another host, leave their place by dot
// segments, or contain placeholders. It returns an error if a field of the path is
// empty, because the rest would be the path of another file.
func (t *uriTemplate) expand(repl *caddy.Replacer) (string, error) {
	var b strings.Builder
	for _, part := range t.parts {
		b.WriteString(part.literal)
		if part.field == "" {
			continue
		}
		value, _ := repl.GetString(part.field)
		if part.query {
			b.WriteString(url.QueryEscape(value))
			continue
		}
		value = withoutDots(value)
		if value == "" {
			return "", errNoPath
		}
		// url.PathEscape escapes braces too
		b.WriteString(strings.ReplaceAll(url.PathEscape(value), "%2F", "/"))
	}
	return b.String(), nil
}

// withoutDots resolves dot segments as if the value were a whole path, and
// drops the slash at its beginning.
func withoutDots(value string) string {
	clean := strings.TrimPrefix(path.Clean("/"+value), "/")
	if clean != "" && strings.HasSuffix(value, "/") {
		clean += "/"
	}
	return clean
}

// apply rewrites the request to a URI of expand. It does nothing on nil.
func (t *uriTemplate) apply(r *http.Request, repl *caddy.Replacer, uri string) {
	if t != nil {
		rewrite.Rewrite{URI: uri}.Rewrite(r, repl)
	}
}
