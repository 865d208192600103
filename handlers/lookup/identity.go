// Who or what a request is about: the identity of the record to look up.

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

// identity is an identity's templates, ready to expand.
type identity struct {
	parts []template.Template
	// anyPart accepts an identity of which some parts are empty, though not all.
	anyPart bool
}

// newIdentity prepares templates. With allCookies, a part that is a cookie has
// its values as often as the client sent it, with semicolons between.
func newIdentity(templates Identity, anyPart, allCookies bool) identity {
	i := identity{anyPart: anyPart}
	for _, text := range templates {
		if allCookies {
			i.parts = append(i.parts, template.NewAllCookies(text))
		} else {
			i.parts = append(i.parts, template.New(text))
		}
	}
	return i
}

// Identified is the identity of one request. The zero value is that it has none.
type Identified struct {
	// ID is the whole identity; see [cache.JoinIdentity].
	ID string
	// Parts are its parts as they came, nil where there is only one.
	Parts []string
}

// Identify returns the identity of a request; it has an empty ID where the
// request has none.
func (l *Lookup) Identify(r *http.Request, repl *caddy.Replacer) Identified {
	if len(l.identity.parts) == 1 {
		return Identified{ID: l.identity.parts[0].Expand(r, repl, "")}
	}
	parts := make([]string, len(l.identity.parts))
	empty := 0
	for i, part := range l.identity.parts {
		if parts[i] = part.Expand(r, repl, ""); parts[i] == "" {
			empty++
		}
	}
	if empty == len(parts) || empty > 0 && !l.identity.anyPart {
		return Identified{}
	}
	return Identified{ID: cache.JoinIdentity(parts), Parts: parts}
}

// ParseIdentity returns the identity that is written id: its parts joined by
// ":", with "%" and ":" inside a part percent-encoded.
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

// maxIdentityTotal bounds all parts of one identity together, in bytes.
const maxIdentityTotal = 4 * cache.MaxIdentity

// check reports whether the identity, which is client input, may be looked up.
// The error wraps [cache.ErrMalformedIdentity].
func (i *Identified) check() error {
	if i.Parts == nil {
		return cache.CheckIdentity(i.ID)
	}
	for _, part := range i.Parts {
		if err := cache.CheckIdentity(part); err != nil {
			return err
		}
	}
	if len(i.ID) > maxIdentityTotal {
		return fmt.Errorf("%w: its parts have more than %d bytes", cache.ErrMalformedIdentity, maxIdentityTotal)
	}
	return nil
}
