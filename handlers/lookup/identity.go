// The identity of the record that a request is about.

package lookup

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// Identity has the templates of an identity's parts, most often one. In JSON,
// one part is a string and several are an array of strings.
type Identity []string

// MarshalJSON implements [json.Marshaler].
func (i Identity) MarshalJSON() ([]byte, error) {
	if len(i) == 1 {
		return json.Marshal(i[0])
	}
	return json.Marshal([]string(i))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (i *Identity) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		if *i = nil; one != "" {
			*i = Identity{one}
		}
		return nil
	}
	var several []string
	if err := json.Unmarshal(text, &several); err != nil {
		return errors.New("id: want a text, or an array of texts for an identity of several parts")
	}
	*i = several
	return nil
}

// maxIdentityParts is how many parts an identity has at most.
const maxIdentityParts = 16

// IdentityReader finds the identity of requests.
type IdentityReader struct {
	parts []template.Template
	// bare are the texts of the parts if all their placeholders are empty. A part with
	// this text counts as empty.
	bare    []string
	cookies []bool // whether each part is the whole Cookie header
	claims  []bool // whether each part has a claim; see isClaim
	anyPart bool   // see NewIdentityReader
	// trustsVerifiers reports that verifiers of client_auth may have accepted a
	// certificate.
	trustsVerifiers bool
}

// NewIdentityReader prepares templates. With anyPart, some parts of an identity
// may be empty, but not all.
func NewIdentityReader(templates Identity, anyPart bool) IdentityReader {
	return newIdentityReader(templates, anyPart, template.New)
}

// newIdentityReader prepares each part with part.
func newIdentityReader(templates Identity, anyPart bool, part func(text string) template.Template) IdentityReader {
	i := IdentityReader{anyPart: anyPart}
	for _, text := range templates {
		i.cookies = append(i.cookies, strings.EqualFold(text, "{http.request.header.Cookie}"))
		i.parts = append(i.parts, part(text))
		i.bare = append(i.bare, template.Bare(text))
		i.claims = append(i.claims, hasClaim(text))
	}
	return i
}

// Identified is the identity of one request. The zero value means that the
// request has none.
type Identified struct {
	// ID is the whole identity; see [cache.JoinIdentity].
	ID string
	// Parts are its parts without escapes; nil if there is only one.
	Parts []string
}

// Identify returns the identity of a request; it has an empty ID where the
// request has none.
func (l *Lookup) Identify(r *http.Request, repl *caddy.Replacer) Identified {
	return l.identity.Of(r, repl)
}

// Of returns the identity of a request; it has an empty ID where the request has
// none.
func (i IdentityReader) Of(r *http.Request, repl *caddy.Replacer) Identified {
	if len(i.parts) == 1 {
		return Identified{ID: i.part(0, r, repl)}
	}
	parts := make([]string, len(i.parts))
	empty := 0
	for n := range i.parts {
		if parts[n] = i.part(n, r, repl); parts[n] == "" {
			empty++
		}
	}
	if empty == len(parts) || empty > 0 && !i.anyPart {
		return Identified{}
	}
	return Identified{ID: cache.JoinIdentity(parts), Parts: parts}
}

// part returns a part of the identity of a request.
func (i IdentityReader) part(n int, r *http.Request, repl *caddy.Replacer) string {
	if i.claims[n] && !i.believes(r) {
		return ""
	}
	value := i.parts[n].Expand(r, repl, "")
	if i.bare[n] != "" && value == i.bare[n] {
		return ""
	}
	return value
}

// ParseIdentity reads an identity in its written form: the parts joined by ":", with
// "%" and ":" inside a part percent-encoded.
func (l *Lookup) ParseIdentity(id string) (Identified, error) {
	want := len(l.identity.parts)
	if want < 2 {
		return Identified{ID: id}, nil
	}
	parts := strings.Split(id, ":")
	for i, part := range parts {
		parts[i] = strings.NewReplacer("%3A", ":", "%25", "%").Replace(part)
	}
	if len(parts) != want || cache.JoinIdentity(parts) != id {
		return Identified{}, fmt.Errorf("identity does not have %d parts joined by a colon, with %%3A for a colon and %%25 for a percent sign inside a part", want)
	}
	return Identified{ID: id, Parts: parts}, nil
}

// MaxIdentity is the largest size of all parts of one identity together, in bytes.
const MaxIdentity = 4 * cache.MaxIdentity

// Check returns an error if an identity, which is client input, may not be looked up.
// The error wraps [cache.ErrMalformedIdentity].
func (i IdentityReader) Check(id Identified) error {
	parts := id.Parts
	if parts == nil {
		parts = []string{id.ID}
	}
	for n, part := range parts {
		check := cache.CheckIdentity
		if n < len(i.cookies) && i.cookies[n] && len(part) > cache.MaxIdentity {
			check = checkCookies
		}
		if err := check(part); err != nil {
			return err
		}
	}
	if len(id.ID) > MaxIdentity {
		return fmt.Errorf("%w: its parts have more than %d bytes", cache.ErrMalformedIdentity, MaxIdentity)
	}
	return nil
}

// checkCookies is [cache.CheckIdentity] for a whole Cookie header. The limit holds for
// each cookie, because a session can be divided among several.
func checkCookies(header string) error {
	for cookie := range strings.SplitSeq(header, ";") {
		if err := cache.CheckIdentity(cookie); err != nil {
			return err
		}
	}
	return nil
}
