// Reading the bodies of requests.

package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unusedBody is how many bytes of a body that is too large are read for nothing. A
// connection that is closed while the client still writes is reset, and the client may
// not see the answer then.
const unusedBody = 8 << 20

// readBody reads a body of at most limit bytes.
func readBody(r *http.Request, limit int) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "body ended early")
	}
	if len(body) > limit {
		_, _ = io.CopyN(io.Discard, r.Body, unusedBody)
		return nil, refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("body is too large: want at most %d bytes", limit))
	}
	return body, nil
}

// decodeStrictly decodes one JSON object, which must have no unknown and no repeated
// fields.
func decodeStrictly(body []byte, into any) error {
	if err := fieldsOnce(body); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("there is more than one value")
	}
	return nil
}

// fieldsOnce returns an error if the object has a field twice, in any case, because it
// would be unclear which one counts.
func fieldsOnce(body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return nil // the decoder returns the error of what is no object
	}
	seen := make(map[string]bool)
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		field := strings.ToLower(fmt.Sprint(name))
		if seen[field] {
			return errors.New("a field is given twice")
		}
		seen[field] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
	}
	return nil
}

// hasHalfPair reports whether JSON has half of a pair of escapes, such as \ud800. The
// decoder replaces it by U+FFFD, which would make another key of it.
func hasHalfPair(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++ // the escaped character
		first := escapedUnit(text[i:])
		if !utf16.IsSurrogate(first) {
			continue
		}
		const unit = len("ud800")
		rest := text[i+unit:]
		if len(rest) == 0 || rest[0] != '\\' || utf16.DecodeRune(first, escapedUnit(rest[1:])) == utf8.RuneError {
			return true
		}
		i += unit + unit
	}
	return false
}

// escapedUnit returns the UTF-16 code unit of an escape at the beginning of text: u and
// four hex digits. It is 0 if there is none.
func escapedUnit(text []byte) rune {
	if len(text) < 5 || text[0] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(text[1:5]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}
