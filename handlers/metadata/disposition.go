package metadata

import (
	"strings"
	"unicode"
)

// dispositionParams are the parameters of Content-Disposition that propose a
// file name (RFC 6266): none without a usable name; two for a name that is not
// plain ASCII, one for older clients and the full one.
func dispositionParams(name string) string {
	name = baseName(name)
	if name == "" {
		return ""
	}
	plain := asciiName(name)
	params := `; filename="` + plain + `"`
	if plain != name {
		params += "; filename*=UTF-8''" + extValue(name)
	}
	return params
}

// maxNameLength is the longest name, in bytes, of common file systems.
const maxNameLength = 255

// baseName is the safe part of a name: no directories, no control characters,
// and no characters that change the direction of text, which can make "gpj.exe"
// look like "exe.jpg".
func baseName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, name)
	name = strings.TrimSpace(name)
	if len(name) > maxNameLength || strings.Trim(name, ".") == "" {
		return ""
	}
	return name
}

// asciiName replaces the characters that clients read differently in a quoted
// string: quotes, backslashes, percent signs, and all that is not ASCII.
func asciiName(name string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
}

// extValue encodes a value as RFC 8187 does.
func extValue(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$&+-.^_`|~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
