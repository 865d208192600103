// A cache that configurations share, from its opening to its end.

package lifetime

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// Shared is a cache with the key it has in the usage pool.
type Shared struct {
	*cache.Cache
	key     string
	place   string
	process *Process
	// holders is the number of requests that need the cache, even after their
	// configuration has ended.
	holders atomic.Int64
	release func()
	// retirement is set while no configuration uses the cache.
	retirement atomic.Pointer[retirement]
}

// Opener opens a store. Equal options have equal fingerprints.
type Opener struct {
	Fingerprint string
	// Place identifies the records: stores of one place have the same records, although
	// their other options may differ.
	Place  string
	Open   func(*cache.Stats) (cache.Store, error)
	Near   *near.Options // nil: no copies
	Logger *slog.Logger  // of pending invalidations
}

// Acquire returns the cache with the fingerprint, or opens it if there is none. All caches
// are acquired here.
func (p *Process) Acquire(o Opener) (*Shared, error) {
	v, _, err := usage.LoadOrNew(o.Fingerprint, func() (caddy.Destructor, error) {
		if s, ok := p.revive(o.Fingerprint); ok {
			return s, nil
		}
		store, err := o.Open(p.stats)
		if err != nil {
			return nil, err
		}
		s := &Shared{Cache: cache.New(store, p.stats), key: o.Fingerprint, place: o.Place, process: p}
		s.release = s.removeHolder
		s.SharePending(p.enter(o.Place, o.Logger))
		if o.Near != nil {
			s.EnableNear(*o.Near)
		}
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Shared), nil
}

// Release undoes Acquire. After the last configuration has released it, the
// cache closes as soon as no request can use it.
func (s *Shared) Release() error {
	_, err := usage.Delete(s.key)
	return err
}

// Destruct is called by the pool when no configuration uses the cache any more.
func (s *Shared) Destruct() error { return s.process.retire(s) }

// Hold keeps the cache open until release is called, even if no configuration
// uses it, but not beyond the end of the process. Release is called once.
func (s *Shared) Hold() (release func()) {
	s.holders.Add(1)
	return s.release
}

func (s *Shared) removeHolder() {
	if s.holders.Add(-1) > 0 {
		return
	}
	if r := s.retirement.Load(); r != nil {
		r.wake()
	}
}

// close closes the cache, which is unused.
func (s *Shared) close() error {
	defer s.process.depart(s.place)
	return s.Cache.Close() // may write a file
}

// closeDelay is how long a retired cache stays open at least, for requests that have
// arrived but have not yet reached the handler that holds the cache.
const closeDelay = 5 * time.Second

// pendingPoll is the pause between two checks whether the pending invalidations of a
// retired cache are done.
const pendingPoll = time.Second

// retirement is the time from when the last configuration released a cache until the cache
// is closed, or used again by a new configuration.
type retirement struct {
	*Shared
	// woken is sent to when the cache may have become unused.
	woken chan struct{}
	// over is closed when the waiting is over: the cache is revived, or closed
	// by another goroutine.
	over chan struct{}
	// closed is closed when the cache is.
	closed chan struct{}

	// under the mutex of the process
	closing bool
	// alone reports whether no configuration of the plugin is left. Then the cache waits
	// for the requests that hold it, but neither for closeDelay nor for pending
	// invalidations.
	alone bool
}

func (r *retirement) wake() {
	select {
	case r.woken <- struct{}{}:
	default: // a wake-up is waiting already
	}
}

// retire closes a cache: at once if no configuration is left and no request
// holds it, otherwise when it is unused.
func (p *Process) retire(s *Shared) error {
	p.mu.Lock()
	alone := len(p.apps) == 0
	if caddy.Exiting() || alone && s.holders.Load() == 0 {
		p.mu.Unlock()
		return s.close()
	}
	r := &retirement{
		Shared: s, woken: make(chan struct{}, 1), over: make(chan struct{}), closed: make(chan struct{}), alone: alone,
	}
	p.retired[s.key] = r
	s.retirement.Store(r)
	p.mu.Unlock()
	join() // the process stays until run has ended
	go r.run()
	return nil
}

// run waits until the cache is unused, and closes it.
func (r *retirement) run() {
	defer func() { _, _ = usage.Delete(processKey) }()
	delay := time.NewTimer(closeDelay)
	defer delay.Stop()
	delayed := false
	poll := time.NewTicker(pendingPoll)
	defer poll.Stop()
	for !r.process.closeUnused(r, delayed) {
		select {
		case <-delay.C:
			delayed = true
		case <-r.woken:
		case <-poll.C:
		case <-r.over:
			return
		}
	}
}

// closeUnused closes a retired cache if nothing needs it any more, and reports
// whether it is closed or another one closes it.
func (p *Process) closeUnused(r *retirement, delayed bool) bool {
	p.mu.Lock()
	needed := r.holders.Load() > 0 || !r.alone && (!delayed || r.Pending().Total() > 0)
	if needed && !r.closing && p.retired[r.key] == r {
		p.mu.Unlock()
		return false
	}
	p.mu.Unlock()
	p.closeNow(r)
	return true
}

// closeNow closes a retired cache, or waits until it is closed, unless it was
// revived.
func (p *Process) closeNow(r *retirement) {
	p.mu.Lock()
	switch {
	case p.retired[r.key] != r: // revived, or closed
		p.mu.Unlock()
		return
	case r.closing:
		p.mu.Unlock()
		<-r.closed
		return
	}
	r.closing = true
	close(r.over)
	p.mu.Unlock()
	_ = r.close()
	p.mu.Lock()
	delete(p.retired, r.key)
	p.mu.Unlock()
	close(r.closed)
}

// closeRetired closes the retired caches. Those that requests hold are closed only if held
// is true; otherwise they close when the requests release them.
func (p *Process) closeRetired(held bool) {
	p.mu.Lock()
	var unused []*retirement
	for _, r := range p.retired {
		r.alone = true
		if held || r.closing || r.holders.Load() == 0 {
			unused = append(unused, r)
		}
		r.wake()
	}
	p.mu.Unlock()
	for _, r := range unused {
		p.closeNow(r)
	}
}

// revive returns the retired cache with that key to a configuration, if there is one. If it
// is already closing, revive waits for the end: the embedded store saves its records, which
// the next store reads.
func (p *Process) revive(key string) (*Shared, bool) {
	p.mu.Lock()
	r, ok := p.retired[key]
	if !ok {
		p.mu.Unlock()
		return nil, false
	}
	if r.closing {
		p.mu.Unlock()
		<-r.closed
		return nil, false
	}
	delete(p.retired, key)
	r.Shared.retirement.Store(nil)
	close(r.over)
	p.mu.Unlock()
	return r.Shared, true
}
