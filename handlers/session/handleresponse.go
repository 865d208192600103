// Routes for an answer of the source: handle_response.

package session

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Placeholders that handle_response has in reverse_proxy, and here.
const (
	proxyStatusCode = "http.reverse_proxy.status_code"
	proxyStatusText = "http.reverse_proxy.status_text"
	proxyHeader     = "http.reverse_proxy.header."
)

// provisionHandleResponse provisions the routes.
func (s *Handler) provisionHandleResponse(ctx caddy.Context) error {
	for i := range s.HandleResponse {
		if err := checkRoutes(s.HandleResponse[i].Routes); err != nil {
			return err
		}
		if err := s.HandleResponse[i].Provision(ctx); err != nil {
			return fmt.Errorf("handle_response: %w", err)
		}
	}
	return nil
}

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

// checkRoutes refuses routes that copy the answer, which is possible in reverse_proxy
// only. The routes must not be provisioned yet.
func checkRoutes(routes caddyhttp.RouteList) error {
	text, err := json.Marshal(routes)
	if err != nil {
		return err
	}
	var config any
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	if name := copier(config); name != "" {
		return fmt.Errorf("handle_response cannot %s here: leave handle_response out, and the answer is passed as it is", name)
	}
	return nil
}

// copier returns the name of a handler that copies the answer, or "".
func copier(config any) (name string) {
	switch config := config.(type) {
	case []any:
		for _, value := range config {
			name = cmp.Or(name, copier(value))
		}
	case map[string]any:
		handler, _ := config["handler"].(string)
		if handler == "copy_response" || handler == "copy_response_headers" {
			return handler
		}
		for field, value := range config {
			if handler != "reverse_proxy" || field != "handle_response" { // which has an answer of its own
				name = cmp.Or(name, copier(value))
			}
		}
	}
	return name
}

// handleResponse runs the routes for the source's answer. handled is false if no routes
// match or the source did not answer. A cached answer has a status only.
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
