package template

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Split is a template as its texts and the names of the placeholders between them.
// Placeholders of the environment, files and the system are already replaced.
type Split struct {
	Texts []string // one more than Names
	Names []string
}

// NewSplit splits a template.
func NewSplit(text string) (s Split, err error) {
	var b strings.Builder
	for rest, found := text, true; found; {
		var before, name string
		if before, name, rest, found, err = NextPlaceholder(rest); err != nil {
			return Split{}, err
		}
		b.WriteString(before)
		switch kind, _, _ := strings.Cut(name, "."); {
		case !found:
		case kind == "env", kind == "file", kind == "system":
			value, _ := caddy.NewReplacer().GetString(name)
			b.WriteString(value)
		default:
			s.Texts, s.Names = append(s.Texts, b.String()), append(s.Names, name)
			b.Reset()
		}
	}
	s.Texts = append(s.Texts, b.String())
	return s, nil
}

// Equal reports whether two templates have the same texts and placeholders. A zero value
// equals no template.
func (s Split) Equal(other Split) bool {
	return s.Texts != nil && slices.Equal(s.Texts, other.Texts) && slices.Equal(s.Names, other.Names)
}

// With is the text with a value for each placeholder.
func (s Split) With(values []string) string {
	var b strings.Builder
	for i, text := range s.Texts {
		b.WriteString(text)
		if i < len(values) {
			b.WriteString(values[i])
		}
	}
	return b.String()
}
