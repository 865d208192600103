package filesystem

import (
	"io/fs"
	"sync/atomic"
)

// handle is an open file that many read at once. It closes with its last user.
type handle struct {
	file  fs.File // an io.ReaderAt
	users atomic.Int64
}

// newHandle returns a handle with one user, who remembers it.
func newHandle(file fs.File) *handle {
	h := &handle{file: file}
	h.users.Store(1)
	return h
}

// acquire makes the caller a user, unless the file is closed already.
func (h *handle) acquire() bool {
	for {
		users := h.users.Load()
		if users == 0 {
			return false
		}
		if h.users.CompareAndSwap(users, users+1) {
			return true
		}
	}
}

// release ends what newHandle or acquire began.
func (h *handle) release() {
	if h.users.Add(-1) == 0 {
		h.file.Close()
	}
}
