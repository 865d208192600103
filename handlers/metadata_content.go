// The bodies of files, as [http.ServeContent] takes them.

package handlers

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// sized stands for a file of which only the size is known. Nothing is read
// from it, since the answer to HEAD has no content.
type sized int64

func (s sized) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return int64(s) + offset, nil
	}
	return offset, nil
}

func (sized) Read([]byte) (int, error) { return 0, io.EOF }

// inMemory is a file that is in memory.
type inMemory struct {
	bytes.Reader
	data []byte
}

func newInMemory(data []byte) *inMemory {
	m := &inMemory{data: data}
	m.Reset(data)
	return m
}

// next is what is left of the file, up to n bytes, without a copy of it.
func (m *inMemory) next(n int64) []byte {
	rest := m.data[len(m.data)-m.Len():]
	rest = rest[:min(n, int64(len(rest)))]
	_, _ = m.Seek(int64(len(rest)), io.SeekCurrent)
	return rest
}

// pieceSize is how many bytes of a file are written at a time, which is what
// Caddy's own timeouts make of larger ones.
const pieceSize = 64 << 10

// pieces has buffers for them.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// isFile tells whether a body is from a file. Of what else it may come from,
// the beginning may be wanted before the end is there.
func isFile(body *io.LimitedReader) bool {
	_, ok := body.R.(fs.File)
	return ok
}

// sendsFiles tells whether w may hand a file to the system to send it: not
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
		n, err := io.ReadFull(body, buf[:min(body.N, pieceSize)])
		if n > 0 {
			n, writeErr := w.Write(buf[:n])
			written += int64(n)
			if writeErr != nil {
				return written, writeErr
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break // the file has become shorter, which who promised its length sees
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
