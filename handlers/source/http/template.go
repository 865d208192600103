// Texts of the configuration with slots for values of each request.

package httpsource

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// slot stands for a value of the request.
type slot struct {
	// part is the number of a part of the identity, from 1; 0 is the whole
	// identity, -1 another value of the request.
	part  int
	value int // the index of that value
}

// of is the value of a request for the slot.
func (s slot) of(req *cache.Request) string {
	switch {
	case s.part < 0:
		return req.Values[s.value]
	case s.part > 0 && req.Parts != nil:
		return req.Parts[s.part-1]
	}
	return req.ID
}

// textTemplate is fixed texts with slots between them: one text more than slots.
type textTemplate struct {
	texts []string
	slots []slot
}

// hasIdentity reports whether the identity, or a part of it, is in the text.
func (t textTemplate) hasIdentity() bool {
	return slices.ContainsFunc(t.slots, func(s slot) bool { return s.part >= 0 })
}

// isSlot reports whether the text is one slot and nothing else.
func (t textTemplate) isSlot() bool {
	return len(t.slots) == 1 && t.texts[0] == "" && t.texts[1] == ""
}

// with fills the slots.
func (t textTemplate) with(fill func(i int, s slot) string) string {
	if len(t.slots) == 0 {
		return t.texts[0]
	}
	var b strings.Builder
	for i, s := range t.slots {
		b.WriteString(t.texts[i])
		b.WriteString(fill(i, s))
	}
	b.WriteString(t.texts[len(t.slots)])
	return b.String()
}

func (t textTemplate) filledWith(text string) string {
	return t.with(func(int, slot) string { return text })
}

// templateParser reads texts and collects the placeholders of a request in
// them: values, each once.
type templateParser struct {
	parts  int // of the identity
	values []string
}

// parse reads a text and resolves the placeholders that are the same for every
// request.
func (p *templateParser) parse(text string) (textTemplate, error) {
	var t textTemplate
	var failed error
	const mark = "\x00" // no configuration can contain it
	if strings.Contains(text, mark) {
		return t, errors.New("it has a zero byte")
	}
	if err := template.CheckDollar(text); err != nil {
		return t, err
	}
	resolved, err := caddy.NewReplacer().ReplaceFunc(text, func(name string, value any) (any, error) {
		kind, _, _ := strings.Cut(name, ".")
		switch kind {
		case "id":
			s, err := p.identitySlot(name)
			failed = errors.Join(failed, err)
			t.slots = append(t.slots, s)
			return mark, nil
		case "env", "file", "system":
			if value == nil || value == "" {
				failed = errors.Join(failed, fmt.Errorf("placeholder {%s} is empty", name))
			}
			return strings.ReplaceAll(caddy.ToString(value), mark, ""), nil
		}
		if err, sure := template.CheckPlaceholder(name); err != nil && sure {
			failed = errors.Join(failed, err)
		}
		t.slots = append(t.slots, slot{part: -1, value: p.valueOf(name)})
		return mark, nil
	})
	if err := errors.Join(err, failed); err != nil {
		return t, err
	}
	t.texts = strings.Split(resolved, mark)
	return t, nil
}

func (p *templateParser) identitySlot(name string) (slot, error) {
	if name == "id" {
		return slot{}, nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(name, "id."))
	if err != nil || n < 1 || n > p.parts {
		return slot{}, fmt.Errorf("{%s} is not a part of the identity, which has %d", name, p.parts)
	}
	return slot{part: n}, nil
}

// valueOf is the index of a placeholder's value.
func (p *templateParser) valueOf(name string) int {
	text := "{" + name + "}"
	if i := slices.Index(p.values, text); i >= 0 {
		return i
	}
	p.values = append(p.values, text)
	return len(p.values) - 1
}

// urlTemplate is a URL with slots, each escaped for its place.
type urlTemplate struct {
	text    textTemplate
	escapes []func(string) string
}

// newURLTemplate checks that slots are allowed where they stand.
func newURLTemplate(text textTemplate) (t urlTemplate, secure bool, err error) {
	if scheme, rest, ok := strings.Cut(text.texts[0], "://"); len(text.slots) > 0 && ok && scheme != "" && !strings.ContainsAny(rest, "/?") && !strings.Contains(strings.Join(text.texts, ""), "@") {
		return t, false, errors.New("a placeholder of the request is in the host of the URL: a client must not choose the server that is asked")
	}
	// each slot replaced by a slash, its worst possible value
	worst := text.filledWith("%2F")
	u, err := url.Parse(worst)
	if err == nil {
		_, err = url.QueryUnescape(u.RawQuery)
	}
	switch {
	case err != nil:
		// url.Parse's error would repeat parts of the URL, which may hold
		// secrets
		return t, false, errors.New("it is not a URL: want one like https://app.internal/verify?id={id}")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return t, false, errors.New("it is not complete: want http:// or https:// and a host in front")
	case u.Port() != "" && !isPort(u.Port()):
		return t, false, errors.New("its port is not a number from 1 to 65535")
	case u.User != nil:
		return t, false, errors.New("it has a user in front of the host: send credentials in a header")
	case strings.ContainsAny(worst, "# "):
		return t, false, errors.New("it has a space or a fragment: write %20 for a space, %23 for #")
	case hasDotSegment(staticPath(u)):
		return t, false, errors.New("its path has a segment . or ..: write the path they lead to")
	}
	inQuery := false
	for _, part := range text.texts[:len(text.slots)] {
		inQuery = inQuery || strings.Contains(part, "?")
		if inQuery {
			t.escapes = append(t.escapes, url.QueryEscape)
			continue
		}
		// Go would decode such a path and encode it again, except for slashes
		if u.EscapedPath() != u.RawPath {
			return t, false, errors.New("its path has a character that cannot stand in a URL: write it percent-encoded")
		}
		t.escapes = append(t.escapes, url.PathEscape)
	}
	t.text = text
	return t, u.Scheme == "https", nil
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// staticPath is the decoded path with harmless values in its slots.
func staticPath(u *url.URL) string {
	path, _ := url.PathUnescape(strings.ReplaceAll(u.EscapedPath(), "%2F", "id"))
	return path
}

// about is the URL for a request.
func (t urlTemplate) about(req *cache.Request) string {
	return t.text.with(func(i int, s slot) string { return t.escapes[i](s.of(req)) })
}

// hasDotSegment reports whether a decoded path has a dot segment, also for
// servers that treat a backslash as a slash or strip what follows a semicolon.
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
