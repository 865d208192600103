package formats

import (
	"encoding/json"
	"strings"
)

// PythonJSON replaces the numbers that Python's json writes and JSON does not have by
// null: NaN, Infinity and -Infinity.
func PythonJSON(text string) string {
	if json.Valid([]byte(text)) {
		return text
	}
	var b strings.Builder
	inString := false
	for i := 0; i < len(text); {
		n := 1
		switch c := text[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			n = min(2, len(text)-i)
		case !inString && (c == 'N' || c == 'I' || c == '-'):
			if n = len(notANumber(text[i:])); n > 0 {
				b.WriteString("null")
				i += n
				continue
			}
			n = 1
		}
		b.WriteString(text[i : i+n])
		i += n
	}
	return b.String()
}

// notANumber is the word that a text begins with and that is no number in JSON, or "".
func notANumber(text string) string {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if strings.HasPrefix(text, word) {
			return word
		}
	}
	return ""
}
