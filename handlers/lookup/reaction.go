// The response when a lookup finds no usable record.

package lookup

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// StatusClientClosed is the status that Caddy logs for a client that has left.
const StatusClientClosed = 499

// Responder is an answer of a source for the client of the request that asked.
type Responder interface {
	// Answer returns its status and the headers that are known.
	Answer() (status int, header http.Header)
	// Serve sends the whole answer: status, end-to-end headers and body.
	Serve(w http.ResponseWriter)
	// Forward adds the headers that a client needs even with another response:
	// challenges, Retry-After and cookies.
	Forward(h http.Header)
}

// Reaction is the response when a lookup finds no usable record: an HTTP error
// with a status, a redirect, the answer of the source, or the next handler.
type Reaction struct {
	// The status of the error, 400 to 599. Default: none.
	Status int `json:"status,omitempty"`

	// The URL of a redirect (302), with placeholders. After the first "?", their
	// values are escaped, so that a client cannot add parameters, unless the
	// placeholder is an escaped one of Caddy, like {http.request.uri_escaped}. A URL
	// that begins with a path, or with a placeholder of the request other than the
	// scheme, stays on this site. What a link can choose cannot be the host of
	// another one. Default: no redirect.
	Redirect string `json:"redirect,omitempty"`

	// Answer with the source's answer to this request: status, end-to-end headers
	// and body. If the answer was remembered, only its status is sent. Default:
	// false.
	Pass bool `json:"pass,omitempty"`

	// Continue with the next handler, as if there were no lookup. Default: false.
	Continue bool `json:"continue,omitempty"`

	// Ask the source nevertheless. Only for requests without an identity. Default:
	// false.
	Ask bool `json:"ask,omitempty"`
}

// Validate checks that the reaction is exactly one of its fields.
func (a *Reaction) Validate() error {
	set := 0
	for _, is := range []bool{a.Status != 0, a.Redirect != "", a.Pass, a.Continue, a.Ask} {
		if is {
			set++
		}
	}
	if set != 1 {
		return errors.New("want exactly one of status, redirect, pass and continue")
	}
	if a.Redirect != "" {
		if _, err := template.Placeholders(a.Redirect); err != nil {
			return fmt.Errorf("redirect '%s': %w", a.Redirect, err)
		}
	}
	if a.Status != 0 && (a.Status < 400 || a.Status > 599) {
		return fmt.Errorf("status %d is not an error: want 400 to 599", a.Status)
	}
	return nil
}

// Serve carries out the reaction, except for Pass and Ask, which are up to the caller.
// cause is for the log; it never contains an identity.
func (a *Reaction) Serve(w http.ResponseWriter, r *http.Request, repl *caddy.Replacer, next caddyhttp.Handler, cause error) error {
	switch {
	case a.Continue:
		return next.ServeHTTP(w, r)
	case a.Redirect != "":
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Location", a.location(repl))
		w.WriteHeader(http.StatusFound)
		return nil
	}
	return Refuse(a.Status, cause)
}

// Refuse returns an HTTP error with a status. Its trace is constant, because
// Caddy would otherwise compute the trace of every refusal.
func Refuse(status int, cause error) error {
	return caddyhttp.Error(status, caddyhttp.HandlerError{Err: cause, Trace: "lookup.Refuse"})
}
