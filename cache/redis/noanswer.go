// Commands whose time ended without an answer.

package redis

import (
	"context"
	"errors"
	"time"
)

// noAnswerError is the error of a command whose time has ended. It has the reason why
// the connection failed, if that is known: the error of go-redis only reports that the
// time ended during the pause before another attempt.
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

// plainly replaces the error of a command whose time has ended by a [noAnswerError].
func plainly(err error) error {
	var known *noAnswerError
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &known) {
		return err
	}
	return new(noAnswerError)
}

// explain is like plainly, for a command that began at a time at the server of an
// address. It adds the reason why a connection to that server failed since.
func (c *connector) explain(addr string, begun time.Time, err error) error {
	var plain *noAnswerError
	if err = plainly(err); !errors.As(err, &plain) || plain.reason != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.server(addr); s.failedAt.After(begun) {
		return &noAnswerError{s.failure}
	}
	return err
}

// noteFailure stores the reason why a connection to the server failed. The caller holds
// c.mu.
func (s *server) noteFailure(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errAbandoned) || isLocal(err) {
		return
	}
	s.failure, s.failedAt = err, time.Now()
}
