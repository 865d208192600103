// Checking that a text is JSON, for records that are read in large numbers.

package cache

import "encoding/json"

// fastDepth is how deep objects and arrays may be for the fast check.
const fastDepth = 32

// validJSON is [json.Valid] for a text. Most records pass a check of their bytes
// in one go; what does not is left to encoding/json.
func validJSON(text string) bool {
	at := fastValue(text, skipBlanks(text, 0), fastDepth)
	return at >= 0 && skipBlanks(text, at) == len(text) || json.Valid([]byte(text))
}

// fastValue returns the end of the JSON value at at, or -1 if the fast check does not
// accept it.
func fastValue(text string, at, depth int) int {
	if at >= len(text) || depth == 0 {
		return -1
	}
	switch c := text[at]; {
	case c == '"':
		return fastString(text, at+1)
	case c == '{':
		return fastList(text, at+1, depth-1, '}')
	case c == '[':
		return fastList(text, at+1, depth-1, ']')
	case '1' <= c && c <= '9': // a whole number without a sign
		for at < len(text) && '0' <= text[at] && text[at] <= '9' {
			at++
		}
		if at < len(text) && (text[at] == '.' || text[at]|0x20 == 'e') {
			return -1
		}
		return at
	}
	for _, word := range [...]string{"null", "true", "false", "0"} {
		if len(text)-at >= len(word) && text[at:at+len(word)] == word {
			// what follows must end a value, so no number such as 0.5 is cut
			return at + len(word)
		}
	}
	return -1
}

// fastList returns the end of an object or an array, after its opening bracket.
func fastList(text string, at, depth int, end byte) int {
	if at = skipBlanks(text, at); at < len(text) && text[at] == end {
		return at + 1
	}
	for {
		if end == '}' {
			if at >= len(text) || text[at] != '"' {
				return -1
			}
			if at = fastString(text, at+1); at < 0 {
				return -1
			}
			if at = skipBlanks(text, at); at >= len(text) || text[at] != ':' {
				return -1
			}
			at = skipBlanks(text, at+1)
		}
		if at = fastValue(text, at, depth); at < 0 {
			return -1
		}
		at = skipBlanks(text, at)
		switch {
		case at >= len(text):
			return -1
		case text[at] == end:
			return at + 1
		case text[at] != ',':
			return -1
		}
		at = skipBlanks(text, at+1)
	}
}

// fastString returns the end of a string, after its opening quote, or -1 where it
// has an escape.
func fastString(text string, at int) int {
	for ; at < len(text); at++ {
		switch c := text[at]; {
		case c == '"':
			return at + 1
		case c < ' ', c == '\\':
			return -1
		}
	}
	return -1
}
