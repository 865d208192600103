package httpsource

import "net/http"

// Response is what a source wants the client to be answered instead of what
// was asked for: a redirect to the login page. It may be served to several
// clients at once, which all bear the same identity.
type Response struct {
	Status int
	// Header has Location and Set-Cookie, where the source gave them.
	Header http.Header
}

// Serve answers a request. No cache on the way may keep the answer, for it
// holds only until the client has done what it says.
func (r *Response) Serve(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range r.Header {
		for _, value := range values {
			h.Add(name, value)
		}
	}
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(r.Status)
}
