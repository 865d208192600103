// Reading the bodies of requests.

package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("body is too large: want at most %d bytes", limit))
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "body ended early")
	}
	return body, nil
}

// decodeStrictly decodes one JSON object, which must have no unknown fields, and
// none twice.
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

// fieldsOnce returns an error where a field of the object is there twice, in
// whatever case: which of them counts would be anyone's guess.
func fieldsOnce(body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return nil // it is no object, which the decoder says
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

// isReplaced reports whether the decoder has put U+FFFD into a text in place of
// half of a pair of escapes, such as \ud800: it would name another key.
func isReplaced(body []byte, text string) bool {
	const replacement = string(utf8.RuneError)
	written := bytes.Count(body, []byte(replacement)) + bytes.Count(bytes.ToLower(body), []byte(`\ufffd`))
	return strings.Count(text, replacement) > written
}
