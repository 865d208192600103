// Which answers are JSON, or could be: such an answer must be readable, so that
// what cannot be read is never a yes.

package httpsource

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isJSON reports whether an answer has a JSON Content-Type, begins like JSON,
// or could be JSON in a form that this reader does not understand. In doubt it
// returns true.
func isJSON(header http.Header, text []byte) bool {
	if len(text) == 0 {
		// an answer without a body says no more than its status, unless it
		// announces JSON and breaks off
		return saysJSON(header)
	}
	if saysJSON(header) || isEncoded(header) || isCompressed(text) {
		return true
	}
	if beginsLikeJSON(text) {
		return true
	}
	text = bytes.ReplaceAll(text, []byte{0}, nil) // UTF-16 and UTF-32
	start := bytes.TrimLeftFunc(text, isInvisible)
	return beginsLikeJSON(start) || isLiteral(start) || wrapsObject(start)
}

// beginsLikeJSON reports whether a text begins like JSON, or like JSON behind a
// comment, a byte order mark or a guard against scripts.
func beginsLikeJSON(text []byte) bool {
	for _, prefix := range []string{"{", "[", `"`, "'", ")]}", "/*", "//", "while(", "for(", "\xef\xbb\xbf", "\xfe\xff", "\xff\xfe"} {
		if bytes.HasPrefix(text, []byte(prefix)) {
			return true
		}
	}
	return false
}

// isCompressed reports whether a body begins as gzip, zlib and zstd do.
func isCompressed(text []byte) bool {
	for _, magic := range []string{"\x1f\x8b", "x\x01", "x\x9c", "x\xda", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(text, []byte(magic)) {
			return true
		}
	}
	return false
}

// literals are those of JSON and of programming languages.
var literals = []string{"true", "false", "null", "none", "nil", "nan", "undefined", "infinity"}

// isLiteral reports whether a text is a literal or a number, alone, before
// punctuation or on a line of its own. "False alarm" is not.
func isLiteral(text []byte) bool {
	const blanks, signs = " \t", "-+"
	if json.Valid(bytes.TrimRight(text, " \t\r\n,;.")) {
		return true // such as a number
	}
	text = bytes.TrimLeft(text, signs+blanks)
	end := bytes.IndexFunc(text, func(c rune) bool { return !unicode.IsLetter(c) })
	if end < 0 {
		end = len(text)
	}
	if !slices.Contains(literals, strings.ToLower(string(text[:min(end, 16)]))) {
		return false
	}
	rest := bytes.TrimLeft(text[end:], blanks)
	if len(rest) == 0 {
		return true
	}
	c, _ := utf8.DecodeRune(rest)
	return !unicode.IsLetter(c) && !unicode.IsNumber(c)
}

// wrapsObject reports whether a text has an object with something around it,
// such as a callback, or a field that refuses.
func wrapsObject(text []byte) bool {
	for _, part := range []string{`"denied"`, `"absent"`, `'denied'`, `'absent'`} {
		if bytes.Contains(text, []byte(part)) {
			return true
		}
	}
	open := bytes.IndexByte(text, '{')
	if open < 0 {
		return false
	}
	end := bytes.LastIndexByte(text, '}')
	return end > open && len(bytes.Trim(text[end+1:], ");, \t\r\n")) == 0 && json.Valid(text[open:end+1])
}

// saysJSON reports whether the Content-Type is a JSON type.
func saysJSON(header http.Header) bool {
	for _, value := range header.Values("Content-Type") {
		if strings.Contains(strings.ToLower(value), "json") {
			return true
		}
	}
	return false
}

// isEncoded reports whether the body is compressed in a way that the transport
// does not decode.
func isEncoded(header http.Header) bool {
	for _, value := range header.Values("Content-Encoding") {
		if value = strings.TrimSpace(value); value != "" && !strings.EqualFold(value, "identity") {
			return true
		}
	}
	return false
}

// isInvisible reports whether a character may precede a text without being
// seen.
func isInvisible(c rune) bool {
	return unicode.IsSpace(c) || unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == utf8.RuneError
}

func isBlank(text []byte) bool { return len(bytes.TrimLeftFunc(text, isInvisible)) == 0 }
