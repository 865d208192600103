// What an application's answer is to the client of the request that asked.

package httpsource

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Response is an answer of the application for one client.
type Response struct {
	Status int
	// Header has the end-to-end headers, or for a redirect those that make it.
	Header http.Header
	// Body is as much of the body as max_body allows, where answers are passed.
	Body []byte
	// redirect keeps the answer out of every cache on the way.
	redirect bool
}

// redirectOf is a 3xx answer: it goes to the client, whatever else is configured;
// whole where answers are passed.
func (h *Source) redirectOf(resp *http.Response) *Response {
	if h.asker.Pass {
		r := h.responseOf(resp)
		r.redirect = true
		return r
	}
	r := &Response{Status: resp.StatusCode, Header: make(http.Header), redirect: true}
	for _, name := range []string{"Location", "Set-Cookie"} {
		if values := resp.Header.Values(name); len(values) > 0 {
			r.Header[name] = values
		}
	}
	return r
}

// responseOf is any other answer. Its body is read only where it may be passed.
func (h *Source) responseOf(resp *http.Response) *Response {
	r := &Response{Status: resp.StatusCode, Header: endToEnd(resp.Header)}
	if h.asker.Pass && h.Method != http.MethodHead {
		// of a body that ends early, the client gets what there is
		r.Body, _ = io.ReadAll(io.LimitReader(resp.Body, h.MaxBody))
	}
	return r
}

// endToEnd leaves out the headers of the connection (RFC 9110, section 7.6.1)
// and of the framing.
func endToEnd(header http.Header) http.Header {
	kept := header.Clone()
	for _, value := range header.Values("Connection") {
		for name := range strings.SplitSeq(value, ",") {
			kept.Del(strings.TrimSpace(name))
		}
	}
	for name := range kept {
		if ofConnection(name) || name == "Alt-Svc" {
			delete(kept, name)
		}
	}
	return kept
}

// Answer is what the application answered, but for its body.
func (r *Response) Answer() (status int, header http.Header) { return r.Status, r.Header }

// Serve answers a request with all of it.
func (r *Response) Serve(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range r.Header {
		if name == "Set-Cookie" {
			h[name] = append(h[name], values...)
			continue
		}
		h[name] = append([]string(nil), values...)
	}
	if r.redirect {
		// the answer holds only until the client has done what it says
		h.Set("Cache-Control", "no-store")
	} else {
		h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body)
}

// Forward adds to another answer what the client must have of this one:
// challenges and when to try again (RFC 9110, sections 11.6.1 and 10.2.3), and
// cookies.
func (r *Response) Forward(h http.Header) {
	names := []string{"Set-Cookie"}
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusTooManyRequests, http.StatusServiceUnavailable:
		names = append(names, "WWW-Authenticate", "Retry-After")
	}
	for _, name := range names {
		name = http.CanonicalHeaderKey(name)
		if values := r.Header[name]; len(values) > 0 {
			h[name] = append(h[name], values...)
		}
	}
}
