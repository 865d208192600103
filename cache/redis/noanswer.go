// Commands whose time ended without an answer.

package redis

import (
	"context"
	"errors"
	"time"
)

// noAnswerError is the error of a command whose time has ended. It says why the
// server could not be connected to where that is known: go-redis only says that
// the time had ended while it paused before another attempt.
type noAnswerError struct{ reason error }

func (e *noAnswerError) Error() string {
	if e.reason != nil {
		return e.reason.Error()
	}
	return "no answer in time"
}

func (e *noAnswerError) Unwrap() error {
	if e.reason != nil {
		return e.reason
	}
	return context.DeadlineExceeded
}

// plainly returns an error of a command in plain words.
func plainly(err error) error {
	var known *noAnswerError
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &known) {
		return err
	}
	return new(noAnswerError)
}

// explain is plainly for a command that was begun at a time, at the server of
// an address.
func (c *connector) explain(addr string, begun time.Time, err error) error {
	plain, ok := plainly(err).(*noAnswerError)
	if !ok || plain.reason != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.server(addr); s.failedAt.After(begun) {
		plain.reason = s.failure
	}
	return plain
}

// noteFailure remembers why a server could not be connected to. The caller
// holds c.mu.
func (s *server) noteFailure(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || isLocal(err) {
		return
	}
	s.failure, s.failedAt = err, time.Now()
}
