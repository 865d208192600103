// Routes for an answer of the source: handle_response.

package session

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Placeholders that handle_response has in reverse_proxy, and here.
const (
	proxyStatusCode = "http.reverse_proxy.status_code"
	proxyStatusText = "http.reverse_proxy.status_text"
	proxyHeader     = "http.reverse_proxy.header."
)

// validateHandleResponse refuses handlers that only reverse_proxy supports.
func (s *Handler) validateHandleResponse() error {
	if len(s.HandleResponse) > 0 && s.Source() == nil {
		return errors.New("handle_response needs a source whose answer to handle: want source http <url>")
	}
	for _, h := range s.HandleResponse {
		if h.StatusCode != "" {
			return errors.New("handle_response takes routes and no status_code: want routes that answer with that status")
		}
	}
	return nil
}

// handleResponse runs the routes for the source's answer. handled is false if
// no routes match or the source did not answer. Of a cached answer, only the
// status is known.
func (a *answer) handleResponse(handlers []caddyhttp.ResponseHandler) (handled bool, err error) {
	if len(handlers) == 0 {
		return false, nil
	}
	status, header := 0, http.Header(nil)
	switch {
	case a.source != nil:
		status, header = a.source.Answer()
	case a.result != nil && (a.result.Outcome == cache.OutcomeAbsent || a.result.Outcome == cache.OutcomeDenied):
		status = a.remembered(0)
	}
	if status == 0 {
		return false, nil
	}
	for i := range handlers {
		if m := handlers[i].Match; m != nil && !m.Match(status, header) {
			continue
		}
		a.repl.Set(proxyStatusCode, status)
		a.repl.Set(proxyStatusText, strconv.Itoa(status)+" "+http.StatusText(status))
		for name, values := range header {
			a.repl.Set(proxyHeader+name, strings.Join(values, ","))
		}
		return true, handlers[i].Routes.Compile(a.next).ServeHTTP(a.w, a.r)
	}
	return false, nil
}
