// Which placeholders a template may have: one that can never have a value is refused
// when the configuration is loaded.

package template

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"
)

// requestPlaceholders are the names that Caddy has under http.request., and
// requestPrefixes the beginnings of such names.
var (
	requestPlaceholders = []string{
		"method", "scheme", "proto", "proto_name", "host", "port", "hostport",
		"local", "local.host", "local.port", "remote", "remote.host", "remote.port",
		"uri", "uri_escaped", "uri.path", "uri.path_escaped", "uri.path.file", "uri.path.file.base",
		"uri.path.file.ext", "uri.path.dir", "uri.query", "uri.query_escaped", "uri.prefixed_query",
		"orig_method", "orig_uri", "orig_uri_escaped", "orig_uri.path", "orig_uri.path.file", "orig_uri.path.file_escaped",
		"orig_uri.path.dir", "orig_uri.query", "orig_uri.prefixed_query",
		"duration", "duration_ms", "uuid", "body", "body_base64",
	}
	requestPrefixes = []string{
		"header.", "cookie.", "uri.query.", "uri.path.", "orig_uri.path.", "host.labels.", "remote.host/", "tls.",
	}
)

// tlsPlaceholders are the names that Caddy has under http.request.tls., and
// tlsLists those that stand for a list or, with a number behind, for one of it.
var (
	tlsPlaceholders = []string{
		"version", "cipher_suite", "resumed", "proto", "proto_mutual", "server_name", "ech",
		"client.fingerprint", "client.public_key", "client.public_key_sha256", "client.issuer", "client.serial",
		"client.subject", "client.certificate_pem", "client.certificate_der_base64",
	}
	tlsLists = []string{"client.san.dns_names", "client.san.emails", "client.san.ips", "client.san.uris"}
)

// shorthands are the first words of Caddyfile shorthands. Caddy has not expanded a
// placeholder that begins with one.
var shorthands = map[string]string{
	"cookie": "http.request.cookie", "header": "http.request.header", "query": "http.request.uri.query",
	"path": "http.request.uri.path", "host": "http.request.host", "hostport": "http.request.hostport",
	"method": "http.request.method", "port": "http.request.port", "scheme": "http.request.scheme",
	"uri": "http.request.uri", "remote": "http.request.remote", "remote_host": "http.request.remote.host",
	"labels": "http.request.host.labels", "re": "http.regexp", "vars": "http.vars", "client_ip": "http.vars.client_ip",
	"orig_uri": "http.request.orig_uri", "dir": "http.request.uri.path.dir", "file_match": "http.matchers.file",
	"tls_client_fingerprint": "http.request.tls.client.fingerprint",
}

// CheckPlaceholder returns an error if a placeholder can never have a value. sure is
// false if a map or another plugin may define it, so the error may be wrong.
func CheckPlaceholder(name string) (err error, sure bool) { //nolint:revive // the error comes with its certainty
	if rest, ok := strings.CutPrefix(name, "http.request."); ok {
		return checkRequestPlaceholder(name, rest), true
	}
	if strings.ContainsAny(name[:min(1, len(name))], "{>~?%$") || strings.ContainsAny(name, " \t") {
		return fmt.Errorf("{%s} is no placeholder of Caddy: want one like {http.request.cookie.session} or {http.request.header.Authorization}", name), true
	}
	if strings.HasSuffix(name, ".") {
		return fmt.Errorf("{%s} has no name behind its last dot, so it is always empty", name), true
	}
	if isOfCaddy(name) {
		return nil, true
	}
	if kind, rest, dotted := strings.Cut(name, "."); shorthands[kind] != "" {
		full := shorthands[kind]
		if dotted {
			full += "." + rest
		}
		if rest, ok := strings.CutPrefix(full, "http.request."); ok {
			if err := checkRequestPlaceholder(full, rest); err != nil {
				return err, true
			}
		}
		return fmt.Errorf("{%s} is a shorthand that Caddy does not expand here: write {%s}", name, full), true
	}
	return fmt.Errorf("{%s} is not one of Caddy's own placeholders", name), false
}

// isOfCaddy reports whether Caddy or this plugin defines a placeholder that is not under
// http.request.
func isOfCaddy(name string) bool {
	switch kind, _, _ := strings.Cut(name, "."); kind {
	case "env", "file", "system", "time":
		return true
	}
	switch name {
	case ForwardedProto, ForwardedHost, ForwardedFor:
		return true
	}
	return slices.ContainsFunc([]string{
		"http.vars.", "http.regexp.", "http.auth.user.", "http.error.", "http.session.", "http.file_metadata.",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// checkRequestPlaceholder checks a placeholder under http.request.; rest is its name
// without that.
func checkRequestPlaceholder(name, rest string) error {
	if slices.Contains(requestPlaceholders, rest) {
		return nil
	}
	for _, prefix := range requestPrefixes {
		if value, ok := strings.CutPrefix(rest, prefix); ok && value != "" {
			return checkOfRequest(name, prefix, value)
		}
	}
	return fmt.Errorf("placeholder {%s} does not exist: want one like {http.request.cookie.session} or {http.request.header.Authorization}", name)
}

// checkOfRequest checks the last part of a placeholder of a request: the name of a
// cookie or header, or the number of a segment of the path.
func checkOfRequest(name, prefix, value string) error {
	switch prefix {
	case "cookie.":
		if !httpguts.ValidHeaderFieldName(value) {
			return fmt.Errorf("{%s}: '%s' cannot be the name of a cookie", name, value)
		}
	case "header.":
		switch canonical := textproto.CanonicalMIMEHeaderKey(value); {
		case !httpguts.ValidHeaderFieldName(value) || strings.Contains(value, "*"):
			return fmt.Errorf("{%s}: '%s' cannot be the name of a header", name, value)
		case canonical == "Host":
			return fmt.Errorf("{%s} is always empty: write {http.request.host}", name)
		case canonical == "Transfer-Encoding", canonical == "Trailer":
			return fmt.Errorf("{%s} is always empty: Go's server removes that header", name)
		}
	case "tls.":
		list, number := strings.ToLower(value), ""
		if i := strings.LastIndexByte(list, '.'); i >= 0 && !slices.Contains(tlsLists, list) {
			list, number = list[:i], list[i+1:]
		}
		_, err := strconv.ParseUint(cmp.Or(number, "0"), 10, 16)
		if !slices.Contains(tlsPlaceholders, strings.ToLower(value)) && (err != nil || !slices.Contains(tlsLists, list)) {
			return fmt.Errorf("placeholder {%s} does not exist: want one like {http.request.tls.client.fingerprint} or {http.request.tls.client.san.emails.0}", name)
		}
	case "uri.path.", "orig_uri.path.", "host.labels.":
		if _, err := strconv.ParseUint(value, 10, 16); err != nil {
			return fmt.Errorf("{%s}: '%s' is not a number, like {http.request.%s0}", name, value, prefix)
		}
	}
	return nil
}

// IsOfRequest reports whether the value of a placeholder depends on the client or on
// what it requests. Others are the same for all requests, or different for each.
func IsOfRequest(name string) bool {
	switch kind, _, _ := strings.Cut(name, "."); kind {
	case "env", "file", "system", "time":
		return false
	}
	switch strings.TrimPrefix(name, "http.request.") {
	case "uuid", "duration", "duration_ms", "local", "local.host", "local.port", "port",
		"scheme", "proto", "proto_name", "method", "orig_method":
		return false
	}
	return true
}

// CheckFilled returns an error if a placeholder of the environment, a file or the system
// is empty. It is called when a configuration is loaded, and not when it is adapted,
// because it may then run on another machine.
func CheckFilled(text string) error {
	names, err := Placeholders(text)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch kind, _, _ := strings.Cut(name, "."); kind {
		case "env", "file", "system":
			if value, _ := caddy.NewReplacer().GetString(name); value == "" {
				return fmt.Errorf("placeholder {%s} is empty: give it a value", name)
			}
		}
	}
	return nil
}

// Bare is a template whose placeholders of the request are all empty, or "" if it has
// none.
func Bare(text string) string {
	split, err := NewSplit(text)
	if err != nil || len(split.Names) == 0 {
		return ""
	}
	return split.With(nil)
}

// CheckDollar returns an error if a $ stands before a placeholder, as in shells. It
// would be a part of the text. The error repeats nothing of the text but the name.
func CheckDollar(text string) error {
	for rest, found := text, true; found; {
		var before, name string
		var err error
		if before, name, rest, found, err = NextPlaceholder(rest); err != nil {
			return nil //nolint:nilerr // others refuse such a text, or take it as it is
		}
		if !found || !strings.HasSuffix(before, "$") {
			continue
		}
		if isVariable(name) {
			return fmt.Errorf("${%s} is a $ before a placeholder, and not a variable: write {$%[1]s} in a Caddyfile, or {env.%[1]s}", name)
		}
		return fmt.Errorf("${%s} is a $ before a placeholder: write {%[1]s}; "+
			"if the $ is meant, take it from a variable, like {env.DOLLAR}{%[1]s}", name)
	}
	return nil
}

// isVariable reports whether the name of a placeholder is rather that of an environment
// variable.
func isVariable(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// Placeholders lists the placeholders of a template. A $ before one is an error.
func Placeholders(text string) (names []string, err error) {
	if err := CheckDollar(text); err != nil {
		return nil, err
	}
	for found := true; found; {
		var name string
		if _, name, text, found, err = NextPlaceholder(text); err != nil {
			return nil, err
		}
		if found {
			names = append(names, name)
		}
	}
	return names, nil
}

// Check returns an error if a template has a placeholder that can never have a value,
// and logs a warning for one that is not Caddy's own. own are the placeholders that the
// option defines. Both messages name the option.
func Check(logger *zap.Logger, option, text string, own ...string) error {
	names, err := Placeholders(text)
	if err != nil {
		return fmt.Errorf("%s '%s': %w", option, text, err)
	}
	for _, name := range names {
		if slices.Contains(own, name) {
			continue
		}
		err, sure := CheckPlaceholder(name)
		switch {
		case err == nil:
		case sure:
			return fmt.Errorf("%s '%s': %w", option, text, err)
		default:
			logger.Warn("placeholder is not known to Caddy; it is empty unless a map or another plugin defines it",
				zap.String("option", option), zap.String("placeholder", name))
		}
	}
	return nil
}

// NextPlaceholder finds the first placeholder of a template, as Caddy's
// replacer reads them: \{ and \} are braces, and one without an end is text.
func NextPlaceholder(text string) (before, name, after string, found bool, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && (text[i+1] == '{' || text[i+1] == '}'):
			i++
			b.WriteByte(text[i])
		case text[i] == '{':
			name, after, found = strings.Cut(text[i+1:], "}")
			if !found {
				return "", "", "", false, errors.New(`it has a { without }: write \{ for a brace`)
			}
			if name == "" {
				return "", "", "", false, errors.New(`it has an empty {}: write \{\} for braces`)
			}
			return b.String(), name, after, true, nil
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String(), "", "", false, nil
}
