// Holds the response back until the records are dropped.

package invalidate

import (
	"io"
	"maps"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// heldResponse calls succeeded once, before a final response of 2xx or 3xx gets
// on its way. Where that fails, nothing of the response does.
type heldResponse struct {
	caddyhttp.ResponseWriterWrapper
	before    http.Header // what the header was before the next handler
	succeeded func() error
	failure   error
	done      bool
}

// answered is called with the status before anything of a response is sent. It
// reports whether the response is to be sent.
func (w *heldResponse) answered(status int) bool {
	if w.done || status < 200 && status != http.StatusSwitchingProtocols {
		return w.failure == nil
	}
	w.done = true
	if status < 200 || status >= 400 {
		return true
	}
	w.failure = w.succeeded()
	return w.failure == nil
}

// withdraw takes back what the next handler has put into the header.
func (w *heldResponse) withdraw() {
	header := w.Header()
	clear(header)
	maps.Copy(header, w.before)
}

func (w *heldResponse) WriteHeader(status int) {
	if w.answered(status) {
		w.ResponseWriterWrapper.WriteHeader(status)
	}
}

func (w *heldResponse) Write(p []byte) (int, error) {
	if !w.answered(http.StatusOK) {
		return len(p), nil
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom keeps sendfile possible.
func (w *heldResponse) ReadFrom(r io.Reader) (int64, error) {
	if !w.answered(http.StatusOK) {
		return io.Copy(io.Discard, r)
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError sends what there is so far.
func (w *heldResponse) FlushError() error {
	if !w.answered(http.StatusOK) {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}
