// Package template expands texts with placeholders for each request.
package template

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Template is a text with placeholders. Most are nothing but one placeholder,
// which is expanded without looking for it, and without a copy of its value.
type Template struct {
	text string
	only string // the name of the placeholder that is the whole text, or ""
}

// New returns a template; any text is one.
func New(text string) Template {
	t := Template{text: text}
	if name, ok := strings.CutPrefix(text, "{"); ok {
		name, ok = strings.CutSuffix(name, "}")
		if ok && name != "" && !strings.ContainsAny(name, `{}\:`) && !strings.HasPrefix(name, "file.") {
			t.only = name
		}
	}
	return t
}

// Expand replaces the placeholders; those without a value, and unknown ones,
// by empty.
func (t Template) Expand(repl *caddy.Replacer, empty string) string {
	if t.only == "" {
		return repl.ReplaceAll(t.text, empty)
	}
	if value, _ := repl.GetString(t.only); value != "" {
		return value
	}
	return empty
}
