// Holding the response back until the records are dropped.

package invalidate

import (
	"io"
	"maps"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// heldResponse calls succeeded once, before a final 2xx or 3xx response is sent. If
// succeeded returns an error, nothing of the response is sent.
type heldResponse struct {
	caddyhttp.ResponseWriterWrapper
	before    http.Header // the header before the next handler ran
	succeeded func() error
	failure   error
	done      bool
}

// answered is called with the status before the response is sent, and reports
// whether to send it.
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

// withdraw removes what the next handler added to the header.
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

// FlushError sends what was written so far.
func (w *heldResponse) FlushError() error {
	if !w.answered(http.StatusOK) {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}
