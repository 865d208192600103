// Limits on concurrent work, shared fairly between queues.

package cache

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"
)

// errQueueFull says that the queue is full.
var errQueueFull = errors.New("too many are waiting already")

// limiter lets a limited number of callers run at a time. The others wait in
// queues that take turns, so that a long queue does not delay the callers in
// another one.
type limiter struct {
	mu      sync.Mutex
	free    int
	waiting []*queue // those that are not empty, the next one first
}

func newLimiter(n int) *limiter { return &limiter{free: n} }

// queue is one queue of a limiter. A nil queue has no limit.
type queue struct {
	limiter *limiter
	most    int       // the longest queue; 0 is no limit
	turns   list.List // of chan struct{}, closed when it is the caller's turn
}

// enter waits for a turn, until ctx ends. After nil, leave must be called.
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

// tryEnter enters if that needs no wait.
func (q *queue) tryEnter() bool {
	q.limiter.mu.Lock()
	defer q.limiter.mu.Unlock()
	if q.limiter.free == 0 {
		return false
	}
	q.limiter.free--
	return true
}

// leave gives the turn to the next caller.
func (q *queue) leave() {
	if q == nil {
		return
	}
	q.limiter.mu.Lock()
	defer q.limiter.mu.Unlock()
	q.limiter.next()
}

// next gives a turn to the first caller of the next queue. The caller holds
// l.mu.
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

// slot is the turn of one load. The load gives it back while it waits for
// something else, and takes it again.
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
	return ctx.Err() // the turn may have been given at the moment at which ctx ended
}

func (s *slot) give() {
	if s.held {
		s.held = false
		s.queue.leave()
	}
}
