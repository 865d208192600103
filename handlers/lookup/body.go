// Writing the bodies of files.

package lookup

import (
	"io"
	"io/fs"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BodyWriter writes files to a response. It uses buffers again, and writes the
// beginning of a file together with the header. Long files still use sendfile.
type BodyWriter struct {
	caddyhttp.ResponseWriterWrapper
}

// ReadFrom implements [io.ReaderFrom].
func (w *BodyWriter) ReadFrom(r io.Reader) (int64, error) {
	body, ok := r.(*io.LimitedReader) // as http.ServeContent has it
	if ok && isFile(body) && (body.N <= pieceSize || !sendsFiles(w.ResponseWriter)) {
		return copyFile(w.ResponseWriter, body)
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// pieceSize is how many bytes of a file are written at a time. Caddy's timeouts divide
// larger writes into pieces of this size.
const pieceSize = 64 << 10

// pieces are buffers of that size.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// isFile reports whether a body is read from a file. Parts of other bodies may have to
// be sent before the rest is available.
func isFile(body *io.LimitedReader) bool {
	_, ok := body.R.(fs.File)
	return ok
}

// sendsFiles reports whether w may use sendfile. It may not under Caddy's idle
// timeout, which is on by default.
func sendsFiles(w http.ResponseWriter) bool {
	for {
		switch v := w.(type) {
		case *caddyhttp.IdleTimeoutWriter:
			return false
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return true
		}
	}
}

// copyFile writes a body in large pieces, the first together with the header,
// through a buffer that others have used before.
func copyFile(w io.Writer, body *io.LimitedReader) (written int64, err error) {
	buf := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(buf)
	for body.N > 0 {
		// a file on the disk gives a whole piece; a pipe gives what is written so far
		n, err := body.Read(buf[:min(body.N, pieceSize)])
		if n > 0 {
			n, writeErr := w.Write(buf[:n])
			written += int64(n)
			if writeErr != nil {
				return written, writeErr
			}
		}
		if err == io.EOF {
			break // the file has become shorter, which the caller detects by the length
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
