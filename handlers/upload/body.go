// Counts a body as it is read.

package upload

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// tally counts a body while other goroutines read it.
type tally struct {
	received atomic.Int64
	// eof reports whether the body was read to its end.
	eof atomic.Bool
	// closed reports whether the reader has closed the body. Errors of Read after
	// that are not the client's.
	closed atomic.Bool
	// failure is the HTTP status of the first failed Read, or 0.
	failure atomic.Int32
}

// countBody wraps a body so that its bytes are counted, at one atomic addition
// per Read. Errors are passed on unchanged.
func countBody(body io.ReadCloser, u *upload) io.ReadCloser {
	counted := &countedBody{body, &u.tally}
	if to, ok := body.(io.WriterTo); ok {
		return &countedBodyTo{counted, to}
	}
	return counted
}

type countedBody struct {
	io.ReadCloser
	tally *tally
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.tally.received.Add(int64(n))
	}
	if err != nil {
		b.tally.note(err)
	}
	return n, err
}

func (b *countedBody) Close() error {
	b.tally.closed.Store(true)
	return b.ReadCloser.Close()
}

// countedBodyTo is the counted form of a body that implements io.WriterTo.
type countedBodyTo struct {
	*countedBody
	to io.WriterTo
}

// WriteTo implements [io.WriterTo].
func (b *countedBodyTo) WriteTo(w io.Writer) (int64, error) {
	n, err := b.to.WriteTo(countingWriter{w, b.tally})
	if err == nil {
		b.tally.eof.Store(true)
	}
	return n, err
}

type countingWriter struct {
	io.Writer
	tally *tally
}

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.tally.received.Add(int64(n))
	return n, err
}

// note records the error of a Read.
func (t *tally) note(err error) {
	switch {
	case errors.Is(err, io.EOF):
		t.eof.Store(true)
	case !t.closed.Load() && !errors.Is(err, http.ErrBodyReadAfterClose):
		t.failure.CompareAndSwap(0, int32(readFailure(err)))
	}
}

// readFailure is the HTTP status of an upload whose body cannot be read
// further.
func readFailure(err error) int {
	var refused caddyhttp.HandlerError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &refused) && refused.StatusCode != 0:
		return refused.StatusCode
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	}
	return lookup.StatusClientClosed
}
