// Leases that this process may hold without knowing: the store did not answer
// in time, but may have carried out what it was asked. They are given back in
// the background, or everybody else would wait until they expire.

package cache

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// giveBackTimeout bounds one attempt.
	giveBackTimeout = time.Second
	// giveBackPause is between two attempts, and before the second one that
	// follows a successful one: what was delayed on its way to the store may be
	// carried out after what was sent later.
	giveBackPause = 500 * time.Millisecond
	// maxGiveBacks bounds what is remembered. Leases beyond it expire.
	maxGiveBacks = 4096
	// giveBacksAtATime is small, as there is no hurry.
	giveBacksAtATime = 4
)

// giveBack is a lease to be given back.
type giveBack struct {
	key, token string
	due        time.Time
	until      time.Time // it has expired by then
	answered   bool      // the store has ended it, or has never granted it yet
}

// giveBacks gives leases back in one goroutine, which ends when there are none.
type giveBacks struct {
	store Store
	waits *waits
	ctx   context.Context // of all attempts
	end   context.CancelFunc

	mu      sync.Mutex
	pending []giveBack
	running bool
	closing chan struct{}
	closed  bool
	group   sync.WaitGroup
}

func newGiveBacks(store Store, waits *waits) *giveBacks {
	g := &giveBacks{store: store, waits: waits, closing: make(chan struct{})}
	g.ctx, g.end = context.WithCancel(context.Background())
	return g
}

// add gives a lease back that lasts for at most ttl.
func (g *giveBacks) add(key, token string, ttl time.Duration) {
	if token == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.pending) >= maxGiveBacks {
		return
	}
	now := time.Now()
	g.pending = append(g.pending, giveBack{key: key, token: token, due: now, until: now.Add(ttl)})
	if !g.running {
		g.running = true
		g.group.Go(g.run)
	}
}

func (g *giveBacks) run() {
	for {
		due, wait, ok := g.take()
		if !ok {
			return
		}
		var attempts errgroup.Group
		attempts.SetLimit(giveBacksAtATime)
		for _, b := range due {
			attempts.Go(func() error { g.attempt(b); return nil })
		}
		_ = attempts.Wait()
		select {
		case <-g.closing: // each has its one attempt
		case <-time.After(wait):
		}
	}
}

// take takes what is due, and says how long until there is more. ok is false
// when nothing is left.
func (g *giveBacks) take() (due []giveBack, wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending) == 0 {
		g.running = false
		return nil, 0, false
	}
	now, later := time.Now(), g.pending[:0:0]
	wait = giveBackPause
	for _, b := range g.pending {
		switch left := b.due.Sub(now); {
		case left <= 0:
			due = append(due, b)
		case g.closed: // it has been tried
		default:
			later = append(later, b)
			wait = min(wait, left)
		}
	}
	if len(due) > 0 {
		wait = 0
	}
	g.pending = later
	return due, wait, true
}

// attempt tries once to give a lease back, and remembers it where that is not
// enough.
func (g *giveBacks) attempt(b giveBack) {
	ctx, cancel := context.WithTimeout(g.ctx, giveBackTimeout)
	defer cancel()
	if g.store.Release(ctx, b.key, b.token) == nil {
		g.waits.wake(b.key)
		if b.answered {
			return
		}
		b.answered = true
	}
	b.due = time.Now().Add(giveBackPause)
	if b.due.After(b.until) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.pending = append(g.pending, b)
	}
}

// close gives back what has not been tried yet, as far as that is done within
// the time of one attempt.
func (g *giveBacks) close() {
	defer g.end()
	defer time.AfterFunc(giveBackTimeout, g.end).Stop()
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.closing)
	}
	g.mu.Unlock()
	g.group.Wait()
}
