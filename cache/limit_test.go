package cache

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// waiting is how many wait in a queue.
func (q *queue) waiting() int {
	q.limiter.mu.Lock()
	defer q.limiter.mu.Unlock()
	return q.turns.Len()
}

// inLine lets n callers enter a queue one after the other, which say so on the
// channel when it is their turn.
func inLine(t *testing.T, q *queue, n int, name string, entered chan<- string) {
	t.Helper()
	for range n {
		before := q.waiting()
		go func() {
			if q.enter(t.Context()) == nil {
				entered <- name
			}
		}()
		require.Eventually(t, func() bool { return q.waiting() == before+1 }, 10*time.Second, time.Microsecond)
	}
}

func TestQueuesTakeTurns(t *testing.T) {
	t.Parallel()
	l := newLimiter(1)
	long, short, last := &queue{limiter: l}, &queue{limiter: l}, &queue{limiter: l}
	require.NoError(t, last.enter(t.Context()))
	entered := make(chan string)
	inLine(t, long, 5, "long", entered)
	inLine(t, short, 2, "short", entered)
	var order []string
	last.leave()
	for range 7 {
		order = append(order, <-entered)
		long.leave() // whose turn it is does not matter
	}
	require.Equal(t, []string{"long", "short", "long", "short", "long", "long", "long"}, order)
	require.Equal(t, 1, l.free)
	require.Empty(t, l.waiting)
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	q := &queue{limiter: newLimiter(1), most: 2}
	require.True(t, q.tryEnter())
	require.False(t, q.tryEnter())
	entered := make(chan string)
	inLine(t, q, 2, "", entered)
	require.ErrorIs(t, q.enter(t.Context()), errQueueFull)
	q.leave()
	<-entered
	q.leave()
	<-entered
	q.leave()
	require.Equal(t, 1, q.limiter.free)
}

func TestLeavingAQueueDoesNotPassATurnOn(t *testing.T) {
	t.Parallel()
	q := &queue{limiter: newLimiter(1)}
	require.NoError(t, q.enter(t.Context()))
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- q.enter(ctx) }()
	require.Eventually(t, func() bool { return q.waiting() == 1 }, 10*time.Second, time.Microsecond)
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	require.Zero(t, q.waiting())
	require.Empty(t, q.limiter.waiting)
	q.leave()
	require.Equal(t, 1, q.limiter.free)
}

// Turns that are given while their owners leave are neither lost nor doubled.
func TestTurnsAreNeitherLostNorDoubled(t *testing.T) {
	t.Parallel()
	l := newLimiter(3)
	var mu sync.Mutex
	var inside, most int
	var group sync.WaitGroup
	for i := range 8 {
		q := &queue{limiter: l}
		for range 50 {
			group.Go(func() {
				ctx, leave := context.WithCancel(t.Context())
				if i%2 == 0 {
					go leave()
				}
				defer leave()
				if q.enter(ctx) != nil {
					return
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				q.leave()
			})
		}
	}
	group.Wait()
	require.LessOrEqual(t, most, 3)
	require.Equal(t, 3, l.free)
	require.Empty(t, l.waiting)
}
