// How session fields are copied into request headers, and how the client's own
// headers of these names are removed.

package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/filewallball/caddy-filewallball/cache"
)

// HeaderCopy is a request header that is set from a field of the record.
// Strings, numbers and booleans are written as they are, arrays of them joined
// by commas, and all else as JSON. The header is left out where the field is
// null or empty, or cannot be written without ambiguity: a text with a line
// break, an array with a comma in a value.
type HeaderCopy struct {
	// The path of the field, such as user_id or headers.Remote-User. Required.
	Field string `json:"field,omitempty"`

	// The name of the header. Default: the last part of the path with hyphens
	// for underscores, such as User-Id or Remote-User.
	Header string `json:"header,omitempty"`
}

// resolveCopies returns the copies with the names of all headers filled in, or
// an error that names the wrong one.
func resolveCopies(copies []HeaderCopy) ([]HeaderCopy, error) {
	resolved := slices.Clone(copies)
	for i := range resolved {
		c := &resolved[i]
		if err := checkPath(c.Field); err != nil {
			return nil, fmt.Errorf("copy_headers: %w", err)
		}
		if c.Header == "" {
			name := c.Field[strings.LastIndexByte(c.Field, '.')+1:]
			c.Header = strings.ReplaceAll(name, "_", "-")
		}
		if !httpguts.ValidHeaderFieldName(c.Header) || strings.Contains(c.Header, "*") {
			return nil, fmt.Errorf("copy_headers: '%s' is not the name of a header: want %s>Header-Name", c.Header, c.Field)
		}
		c.Header = http.CanonicalHeaderKey(c.Header)
		switch c.Header {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Te", "Trailer", "Keep-Alive":
			return nil, fmt.Errorf("copy_headers: %s belongs to the message or the connection and cannot be set", c.Header)
		}
		for _, earlier := range resolved[:i] {
			if sameHeader(earlier.Header, c.Header) {
				return nil, fmt.Errorf("copy_headers: %s and %s are the same header for many applications: give it once",
					earlier.Header, c.Header)
			}
		}
	}
	return resolved, nil
}

// deleteCopies deletes the headers from a request, and their spellings
// X_User_Id and x.user.id of X-User-Id, which are one name for CGI and WSGI. It
// also deletes trailers of these names, which come after the body.
func deleteCopies(r *http.Request, copies []HeaderCopy) {
	deleteNames(r.Header, copies)
	removeFromConnection(r.Header, copies)
	if r.ContentLength >= 0 && r.Trailer == nil {
		return // HTTP/1 bodies of known length have no trailers; HTTP/2 announces them
	}
	deleteNames(r.Trailer, copies)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &trailerFilter{ReadCloser: r.Body, request: r, copies: copies}
	}
}

func deleteNames(h http.Header, copies []HeaderCopy) {
	for name := range h {
		if isCopy(name, copies) {
			delete(h, name)
		}
	}
}

// trailerFilter is a request body that deletes trailers before the handlers
// that follow can read them. The server adds trailers when the body ends.
type trailerFilter struct {
	io.ReadCloser
	request *http.Request
	copies  []HeaderCopy
}

func (f *trailerFilter) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err != nil {
		deleteNames(f.request.Trailer, f.copies)
	}
	return n, err
}

// Close may read the rest of the body, and its trailers.
func (f *trailerFilter) Close() error {
	err := f.ReadCloser.Close()
	deleteNames(f.request.Trailer, f.copies)
	return err
}

// removeFromConnection removes the headers from the client's Connection field. A
// proxy deletes the headers named there before it forwards the request, so the
// application would take the request for one without a session.
func removeFromConnection(h http.Header, copies []HeaderCopy) {
	values, ok := h["Connection"]
	if !ok {
		return
	}
	var kept []string
	for option := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if option = strings.TrimSpace(option); option != "" && !isCopy(option, copies) {
			kept = append(kept, option)
		}
	}
	if kept == nil {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

func isCopy(name string, copies []HeaderCopy) bool {
	for i := range copies {
		if sameHeader(name, copies[i].Header) {
			return true
		}
	}
	return false
}

// sameHeader reports whether an application may take two names for one, by
// ignoring case and mapping all but letters and digits to an underscore.
func sameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if folded(a[i]) != folded(b[i]) {
			return false
		}
	}
	return true
}

func folded(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return '_'
}

// headerValue returns a field as the value of a header, or "" if it cannot be one.
func headerValue(v cache.Value, ok bool) string {
	if !ok || v.IsNull() {
		return ""
	}
	text := v.Text()
	if !v.IsScalar() {
		if text, ok = structured(v); !ok {
			return ""
		}
	}
	if !httpguts.ValidHeaderFieldValue(text) {
		return ""
	}
	return text
}

// structured returns an array or an object on one line. ok is false if a value of an
// array contains a comma, which would make two of it.
func structured(v cache.Value) (line string, ok bool) {
	if v.IsArrayOfScalars() {
		var b strings.Builder
		b.Grow(len(v.JSON()))
		comma, one := "", true
		v.EachString(func(word string) bool {
			one = !strings.Contains(word, ",")
			b.WriteString(comma)
			b.WriteString(word)
			comma = ","
			return one
		})
		if !one {
			return "", false
		}
		return b.String(), true
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(v.JSON())); err != nil {
		return "", false
	}
	return b.String(), true
}
