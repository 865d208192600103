// Limits on what is done at a time, shared fairly by those who wait.

package cache

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"
)

// errQueueFull says that too many wait already.
var errQueueFull = errors.New("too many are waiting already")

// limiter lets some callers go on at a time. The others wait in queues that
// take turns: a long queue does not delay those in another one.
type limiter struct {
	mu      sync.Mutex
	free    int
	waiting []*queue // those that are not empty, the next one first
}

func newLimiter(n int) *limiter { return &limiter{free: n} }

// queue is a queue before a limiter. A nil queue lets everybody go on.
type queue struct {
	limiter *limiter
	most    int       // how many may wait; 0 is any number
	turns   list.List // of chan struct{}, closed when it is the caller's turn
}

// enter waits for a turn, until ctx ends. Where it succeeds, leave must follow.
func (q *queue) enter(ctx context.Context) error {
	if q == nil {
		return nil
	}
	l := q.limiter
	l.mu.Lock()
	if l.free > 0 {
		l.free--
		l.mu.Unlock()
		return nil
	}
	if q.most > 0 && q.turns.Len() >= q.most {
		l.mu.Unlock()
		return errQueueFull
	}
	turn := make(chan struct{})
	place := q.turns.PushBack(turn)
	if q.turns.Len() == 1 {
		l.waiting = append(l.waiting, q)
	}
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn: // it came at the same moment, and goes to the next
		l.next()
	default:
		q.turns.Remove(place)
		if q.turns.Len() == 0 {
			l.waiting = slices.DeleteFunc(l.waiting, func(other *queue) bool { return other == q })
		}
	}
	return ctx.Err()
}

// tryEnter enters if there is no queue.
func (q *queue) tryEnter() bool {
	q.limiter.mu.Lock()
	defer q.limiter.mu.Unlock()
	if q.limiter.free == 0 {
		return false
	}
	q.limiter.free--
	return true
}

// leave lets the next one go on.
func (q *queue) leave() {
	if q == nil {
		return
	}
	q.limiter.mu.Lock()
	defer q.limiter.mu.Unlock()
	q.limiter.next()
}

// next gives a turn to the first of the queue whose turn it is. l.mu is held.
func (l *limiter) next() {
	if len(l.waiting) == 0 {
		l.free++
		return
	}
	q := l.waiting[0]
	l.waiting = l.waiting[1:]
	close(q.turns.Remove(q.turns.Front()).(chan struct{}))
	if q.turns.Len() > 0 {
		l.waiting = append(l.waiting, q)
	}
}

// slot is a turn that one load holds, gives back while it waits for something
// else, and takes again.
type slot struct {
	queue *queue
	held  bool
}

func (s *slot) take(ctx context.Context) error {
	err := ctx.Err()
	if s.held || err != nil {
		return err
	}
	if err = s.queue.enter(ctx); err != nil {
		return err
	}
	s.held = true
	return ctx.Err() // the turn may have come while its owner left
}

func (s *slot) give() {
	if s.held {
		s.held = false
		s.queue.leave()
	}
}
