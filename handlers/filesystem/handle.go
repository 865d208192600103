package filesystem

import (
	"io/fs"
	"sync/atomic"
)

// handle is an open file that several readers share. It closes with its last
// user.
type handle struct {
	file  fs.File // an io.ReaderAt
	users atomic.Int64
}

// newHandle returns a handle whose one user is the cache.
func newHandle(file fs.File) *handle {
	h := &handle{file: file}
	h.users.Store(1)
	return h
}

// acquire adds a user, unless the file is closed already.
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

// release removes a user.
func (h *handle) release() {
	if h.users.Add(-1) == 0 {
		h.file.Close()
	}
}
