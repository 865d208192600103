// How the bodies of files get to the client.

package lookup

import (
	"io"
	"io/fs"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BodyWriter is a response to which files are written without a new buffer for
// each, their beginning together with the header. Where sendfile is possible,
// it stays so for all that is long.
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

// pieceSize is how many bytes of a file are written at a time, which is what
// Caddy's own timeouts make of larger ones.
const pieceSize = 64 << 10

// pieces has buffers for them. A writer keeps none beyond its Write, as
// [io.Writer] has it.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// isFile reports whether a body is from a file. Of what else it may come from,
// the beginning may be wanted before the end is there.
func isFile(body *io.LimitedReader) bool {
	_, ok := body.R.(fs.File)
	return ok
}

// sendsFiles reports whether w may hand a file to the system to send it: not
// where Caddy's idle timeout is in between, as it is by default.
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
		// all of a piece where it is a file of the disk, else what there is:
		// of a pipe, the rest may not have been written yet
		n, err := body.Read(buf[:min(body.N, pieceSize)])
		if n > 0 {
			n, writeErr := w.Write(buf[:n])
			written += int64(n)
			if writeErr != nil {
				return written, writeErr
			}
		}
		if err == io.EOF {
			break // the file has become shorter, which who promised its length sees
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
