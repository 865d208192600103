// Contents of files, as [http.ServeContent] takes them.

package metadata

import (
	"bytes"
	"io"
)

// sized is a file of which only the size is known. It is never read, because the answer
// to HEAD has no content.
type sized int64

func (s sized) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return int64(s) + offset, nil
	}
	return offset, nil
}

func (sized) Read([]byte) (int, error) { return 0, io.EOF }

// inMemory is a file in memory.
type inMemory struct {
	bytes.Reader
	data []byte
}

func newInMemory(data []byte) *inMemory {
	m := &inMemory{data: data}
	m.Reset(data)
	return m
}

// next returns up to n bytes of the rest of the file, without a copy.
func (m *inMemory) next(n int64) []byte {
	rest := m.data[len(m.data)-m.Len():]
	rest = rest[:min(n, int64(len(rest)))]
	_, _ = m.Seek(int64(len(rest)), io.SeekCurrent)
	return rest
}
