// What this machine lacks, and not the server: file descriptors, ports or memory
// for one more connection.

package redis

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"
)

// lacks are errors of making a connection that say nothing about the server.
var lacks = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL}

// lackError says that a connection could not be made for want of something that
// this machine has too little of. It hides the error of the network, which go-redis
// would try again by itself.
type lackError struct{ text string }

func (e *lackError) Error() string { return e.text }

// isLack reports whether an error is a lackError, or will be one.
func isLack(err error) bool {
	var lack *lackError
	if errors.As(err, &lack) {
		return true
	}
	for _, e := range lacks {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// asLack makes a lackError of an error that is one.
func asLack(err error) error {
	if isLack(err) {
		return &lackError{err.Error()}
	}
	return err
}

const (
	// lackPause is how long a turn is withdrawn for which no connection could be
	// made, and how long a caller waits where there is not one connection.
	lackPause = 250 * time.Millisecond
	lackRetry = 20 * time.Millisecond
)

// withdrawn counts the turns that no connection can be made for. The others go
// round among all callers, and find a connection that is there.
type withdrawn struct {
	mu sync.Mutex
	n  int
}

// withdraw takes the turn of a caller away for a while, unless it is the last one.
func (t *turns) withdraw() bool {
	w := &t.withdrawn
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n+1 >= cap(t.free) {
		return false
	}
	if w.n++; w.n == 1 {
		time.AfterFunc(lackPause, t.restore)
	}
	return true
}

// restore gives back all turns that were withdrawn.
func (t *turns) restore() {
	w := &t.withdrawn
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; w.n > 0; w.n-- {
		t.giveBack()
	}
}

// another is for a caller whose turn was of no use. It waits for the turn of
// another caller, who leaves a connection behind. Where it reports false, the
// caller has no turn any more.
func (t *turns) another(ctx context.Context) bool {
	if t.withdraw() {
		_, err := t.take(ctx)
		return err == nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(lackRetry):
	}
	return true
}
