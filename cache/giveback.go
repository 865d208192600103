// Giving back leases that this process may hold without knowing it: the store did
// not answer in time, but may have granted the lease. They are given back in the
// background. Without that, other loads of the key would wait until the lease
// expires.

package cache

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// giveBackTimeout is the timeout of one attempt.
	giveBackTimeout = time.Second
	// giveBackPause is the pause between two attempts. An attempt that succeeded is
	// repeated once after the pause: a delayed request for the lease may reach the
	// store after the request that ended it.
	giveBackPause = 500 * time.Millisecond
	// maxGiveBacks bounds how many leases are remembered. Those beyond it are left to
	// expire.
	maxGiveBacks = 4096
	// giveBacksAtATime is how many attempts run at a time. They are not urgent.
	giveBacksAtATime = 4
)

// giveBack is a lease to give back.
type giveBack struct {
	key, token string
	due        time.Time
	until      time.Time // it has expired by then
	answered   bool      // the store has ended the lease, or has not granted it yet
}

// giveBacks gives leases back in one goroutine, which ends when none are left.
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

// add schedules a lease to be given back. It expires after ttl at the latest.
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

// take returns the leases that are due, and the time until the next one is. ok is
// false when none are left.
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

// attempt tries once to give a lease back, and schedules the next attempt where
// one is needed.
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

// close tries the leases that have not been tried yet, within the timeout of one
// attempt.
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
