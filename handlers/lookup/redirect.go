// Where a client is sent: the URL of a redirect. The values of placeholders are
// client input: they cannot add a header or a parameter, nor choose the host.

package lookup

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// place is a part of a URL.
type place int

const (
	inScheme place = iota // or in front of it
	inHost
	inPath
	inQuery // or in the fragment
)

// firstPlace is the place where a template of a URL begins.
func firstPlace(template string) place {
	scheme, _, found := strings.Cut(template, "//")
	if !found || scheme != "" && !strings.HasSuffix(scheme, ":") || strings.ContainsAny(scheme, "/?#") {
		return inPath
	}
	return inScheme
}

// after returns the place at the end of a text of the template that begins in p.
func (p place) after(text string) place {
	if p == inScheme {
		_, rest, ok := strings.Cut(text, "//")
		if !ok {
			return p
		}
		p, text = inHost, rest
	}
	if p == inHost && strings.Contains(text, "/") {
		p = inPath
	}
	if strings.ContainsAny(text, "?#") {
		p = inQuery
	}
	return p
}

// location returns the URL of a redirect.
func (a *Reaction) location(repl *caddy.Replacer) string {
	at := firstPlace(a.Redirect)
	var b strings.Builder
	rest, found := a.Redirect, true
	for found {
		var before, name string
		var err error
		if before, name, rest, found, err = template.NextPlaceholder(rest); err != nil {
			break // Validate has refused such a template
		}
		b.WriteString(before)
		if at = at.after(before); found {
			value, _ := repl.GetString(name)
			if at == inHost && strings.HasPrefix(value, "/") && hasHost(b.String()) {
				at = inPath // such as {http.request.uri} behind the host
			}
			b.WriteString(escapeFor(at, name, value))
		}
	}
	return onSite(a.Redirect, escapeIllegal(b.String()))
}

// hasHost reports whether a host has begun at the end of a text, so that a slash
// ends it.
func hasHost(text string) bool {
	_, host, ok := strings.Cut(text, "//")
	return ok && host != ""
}

// escaped are the placeholders whose values Caddy has escaped already. Other
// names that end like these, as of a header, are what the client has sent.
var escaped = []string{
	"http.request.uri_escaped", "http.request.uri.path_escaped", "http.request.uri.query_escaped",
	"http.request.orig_uri_escaped", "http.request.orig_uri.path.file_escaped",
}

// escapeFor escapes the value of a placeholder for its place in a URL. In a path, values
// that are parts of a URL already are not escaped again. Values of placeholders that
// Caddy has escaped are never escaped again.
func escapeFor(at place, name, value string) string {
	if slices.Contains(escaped, name) {
		return value
	}
	switch at {
	case inQuery:
		return url.QueryEscape(value)
	case inScheme, inHost:
		if strings.ContainsAny(value, "/\\@?#% ") {
			return ""
		}
		return value
	}
	switch name {
	case "http.request.uri", "http.request.orig_uri", "http.request.uri.prefixed_query", "http.request.orig_uri.prefixed_query":
		return strings.ReplaceAll(value, "#", "%23")
	}
	return strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23").Replace(value)
}

// onSite keeps a location on this site, unless the template leads elsewhere:
// browsers take // and /\ for the beginning of another host, and a value that
// begins a location could have a scheme of its own.
func onSite(template, location string) string {
	if beginsWithClientInput(template) {
		location = "/" + strings.TrimLeft(location, `/\`)
	}
	if rest := strings.TrimLeft(location, `/\`); len(location)-len(rest) > 1 && !strings.HasPrefix(template, "//") {
		return "/" + rest
	}
	if strings.HasPrefix(location, "/%5C") && !strings.HasPrefix(template, "/%5C") {
		return onSite(template, "/"+location[len("/%5C"):])
	}
	return location
}

// beginsWithClientInput reports whether a placeholder of the request, other than
// the scheme, or what a pattern has found in the request, stands at the beginning of
// a template.
func beginsWithClientInput(text string) bool {
	before, name, _, found, err := template.NextPlaceholder(text)
	return err == nil && found && before == "" && name != "http.request.scheme" &&
		(strings.HasPrefix(name, "http.request.") || strings.HasPrefix(name, "http.regexp."))
}

// escapeIllegal escapes what cannot stand in a URL.
func escapeIllegal(location string) string {
	var b strings.Builder
	for _, c := range []byte(location) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// CheckRedirect is [template.Check] for where a client is sent. A link to this
// site must not choose the host.
func CheckRedirect(logger *zap.Logger, text string) error {
	if err := template.CheckFilled(text); err != nil {
		return fmt.Errorf("redirect '%s': %w", text, err)
	}
	if err := template.Check(logger, "redirect", text); err != nil {
		return err
	}
	at := firstPlace(text)
	for rest, found := text, true; found; {
		var before, name string
		if before, name, rest, found, _ = template.NextPlaceholder(rest); !found {
			break
		}
		if at = at.after(before); at <= inHost && isOfLink(name) && !strings.HasPrefix(rest, ".") {
			return fmt.Errorf("redirect '%s': {%s} stands in the host, so a link to this site could lead anywhere: "+
				"write the host, or let a domain follow", text, name)
		}
	}
	return nil
}

// isOfLink reports whether a link to this site chooses the value of a
// placeholder, which may be a host.
func isOfLink(name string) bool {
	for _, prefix := range []string{"http.request.uri.query", "http.request.orig_uri.query", "http.request.uri.path.", "http.request.orig_uri.path.", "http.request.body"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
