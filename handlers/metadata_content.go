// The bodies of files, as [http.ServeContent] takes them.

package handlers

import (
	"bytes"
	"io"
	"io/fs"
	"sync"
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

// shortBody is up to how many bytes a body is short.
const shortBody = 64 << 10

// shortBodies has buffers for short bodies.
var shortBodies = sync.Pool{New: func() any { return new([shortBody]byte) }}

// short tells whether a body is a short file. Of what else a body may come
// from, the beginning may be wanted before the end is there.
func short(body *io.LimitedReader) bool {
	_, ok := body.R.(fs.File)
	return ok && 0 < body.N && body.N <= shortBody
}

// copyShort writes a short body in one piece, through a buffer that others
// have used before.
func copyShort(w io.Writer, body *io.LimitedReader) (int64, error) {
	buf := shortBodies.Get().(*[shortBody]byte)
	defer shortBodies.Put(buf)
	n, err := io.ReadFull(body, buf[:body.N])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err
	}
	n, err = w.Write(buf[:n])
	return int64(n), err
}
