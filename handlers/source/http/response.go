// The application's answer as a response to the client whose request caused the
// load.

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
	// Header has the end-to-end headers; for a redirect, the headers that make
	// it one.
	Header http.Header
	// Body is the beginning of the body, up to max_body, where answers are
	// passed.
	Body []byte
	// redirect: the response must not be stored by any cache.
	redirect bool
}

// redirectOf is the response for a 3xx answer. The client gets it whatever the
// configuration says, with its body where answers are passed.
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

// responseOf is the response for any other answer. The body is read only where
// answers are passed.
func (h *Source) responseOf(resp *http.Response) *Response {
	r := &Response{Status: resp.StatusCode, Header: endToEnd(resp.Header)}
	if h.asker.Pass && h.Method != http.MethodHead {
		// where a body ends early, the client gets the part that arrived
		r.Body, _ = io.ReadAll(io.LimitReader(resp.Body, h.MaxBody))
	}
	return r
}

// endToEnd removes the headers of the connection (RFC 9110, section 7.6.1) and
// of the framing.
func endToEnd(header http.Header) http.Header {
	kept := header.Clone()
	for _, value := range header.Values("Connection") {
		for name := range strings.SplitSeq(value, ",") {
			kept.Del(strings.TrimSpace(name))
		}
	}
	for name := range kept {
		switch {
		case ofConnection(name), name == "Alt-Svc", name == "Proxy-Authenticate", name == "Proxy-Authorization":
			delete(kept, name)
		}
	}
	return kept
}

// Answer is the status and the headers of the answer.
func (r *Response) Answer() (status int, header http.Header) { return r.Status, r.Header }

// Serve writes the whole answer as the response to a request.
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
		// the redirect holds only until the client has followed it
		h.Set("Cache-Control", "no-store")
	} else {
		h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body)
}

// Forward adds headers of this answer to another response: challenges,
// Retry-After (RFC 9110, sections 11.6.1 and 10.2.3) and cookies.
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
