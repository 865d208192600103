// When a store begins to connect: a configuration that is only checked, or that
// fails after its stores are made, connects to nothing.

package redis

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

var errNotStarted = errors.New("the store was not started")

// start is the moment from which a store may connect.
type start struct {
	once sync.Once
	done atomic.Bool
	come chan struct{} // closed at the start
	// ended is closed with the store.
	ended <-chan struct{}
}

func newStart(ended <-chan struct{}) *start { return &start{come: make(chan struct{}), ended: ended} }

// Start lets a store with [Options].Deferred connect. Its first command does so
// as well.
func (s *Store) Start() { s.start.now() }

func (s *start) now() {
	if s.done.Load() {
		return
	}
	s.once.Do(func() {
		s.done.Store(true)
		close(s.come)
	})
}

// wait waits for the start, and reports whether it came before ctx or the store
// ended.
func (s *start) wait(ctx context.Context) bool {
	select {
	case <-s.come:
		return true
	case <-ctx.Done():
		return false
	case <-s.ended:
		return false
	}
}

// dialer returns a dialer that dials no sooner. go-redis dials by itself for
// MinIdleConns as soon as there is a client.
func (s *start) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !s.wait(ctx) {
			return nil, errNotStarted
		}
		return dial(ctx, network, address)
	}
}

// patient returns a dialer for go-redis that waits for the start however long that
// takes. With the timeout of a dial, the connections for MinIdleConns would fail while
// a configuration is slow to load, and the first commands would be sent over them.
func (s *start) patient(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !s.done.Load() {
			if !s.wait(context.Background()) {
				return failedConn{err: errNotStarted}, nil // see neverFails
			}
			ctx = context.WithoutCancel(ctx) // the connector has a timeout of its own
		}
		return dial(ctx, network, address)
	}
}

// background runs something from the start until it ends by itself, as it does
// when ctx ends.
func (s *Store) background(ctx context.Context, run func(context.Context)) {
	s.running.Go(func() {
		if s.start.wait(ctx) {
			run(ctx)
		}
	})
}
