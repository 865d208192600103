// The response to a request that may not pass.

package session

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// answer is the response to a request that may not pass.
type answer struct {
	w    http.ResponseWriter
	r    *http.Request
	repl *caddy.Replacer
	next caddyhttp.Handler

	result *cache.Result    // nil without a lookup
	source lookup.Responder // the source's answer to this request, or nil
}

// react carries out a reaction. status is the status of a passed answer if the source's
// own is not known.
func (a *answer) react(reaction *lookup.Reaction, status int, cause error) error {
	switch {
	case reaction.Pass && a.source != nil:
		a.source.Serve(a.w)
		return nil
	case reaction.Pass:
		return lookup.Refuse(a.remembered(status), cause)
	case a.source != nil && !reaction.Continue:
		a.source.Forward(a.w.Header())
	}
	return reaction.Serve(a.w, a.r, a.repl, a.next, cause)
}

// remembered returns the status of the source's answer in the record, or status if the
// record has none.
func (a *answer) remembered(status int) int {
	if a.result == nil || a.result.Record == nil {
		return status
	}
	if denied := a.result.Record.DeniedStatus(); denied != 0 {
		return denied
	}
	if v, ok := a.result.Record.Field("status"); ok && a.result.Record.State() == cache.Absent {
		if n, ok := v.Int(); ok && n >= 400 && n <= 599 {
			return int(n)
		}
	}
	return status
}
