// Package lifetime has what outlives a configuration: caches with their
// connections and records, the counters, and which configuration is the newest.
package lifetime

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// App is one configuration's.
type App interface {
	lookup.App
	// ApplyShared is called whenever the app is the newest: to set what all
	// configurations share as this one wants it.
	ApplyShared(*cache.Stats)
}

// usage has what outlives a configuration: under processKey the process, and
// a shared cache under each fingerprint of the options it was made with.
var usage = caddy.NewUsagePool()

const processKey = "process"

// Process is what all configurations of this process have in common.
type Process struct {
	stats *cache.Stats
	mu    sync.Mutex
	apps  []App // that have started and not ended, the newest last
	// retired are caches that no configuration uses any more, but requests
	// that began under the last one may, by their keys in the pool.
	retired map[string]*closing
	// pending are the invalidations that are still to be carried out, by the
	// place of the records.
	pending map[string]*cache.Pending
}

// closing is a cache that is to be closed.
type closing struct {
	*Shared
	timer  *time.Timer
	hurry  chan struct{} // closed when it is not to wait any longer
	closed chan struct{}
}

// waitUnused waits until no request holds the cache, and nothing is pending that
// only this cache may be left to carry out.
func (l *closing) waitUnused() {
	for l.holders.Load() > 0 || l.Pending().Total() > 0 {
		select {
		case <-l.hurry:
			return
		case <-time.After(unusedPoll):
		}
	}
}

// unusedPoll is how often a retired cache looks whether it may close.
const unusedPoll = 100 * time.Millisecond

// closeDelay is how long a request may take from its arrival to its last lookup
// when the store that it uses is replaced by a new configuration.
const closeDelay = 5 * time.Second

// Destruct is called by the pool when no configuration uses the plugin.
func (p *Process) Destruct() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, l := range p.retired {
		if l.timer.Stop() {
			errs = append(errs, l.Cache.Close())
		} else {
			close(l.hurry)
			<-l.closed
		}
	}
	return errors.Join(errs...)
}

// retire closes a cache: at once where everything ends, or after closeDelay
// where another configuration runs already.
func (p *Process) retire(s *Shared) error {
	p.mu.Lock()
	if len(p.apps) == 0 {
		p.mu.Unlock()
		return s.Cache.Close() // which may write a file
	}
	defer p.mu.Unlock()
	l := &closing{Shared: s, hurry: make(chan struct{}), closed: make(chan struct{})}
	l.timer = time.AfterFunc(closeDelay, func() {
		l.waitUnused()
		_ = l.Cache.Close()
		close(l.closed)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.retired[s.key] == l {
			delete(p.retired, s.key)
		}
	})
	p.retired[s.key] = l
	return nil
}

// revive gives a retired cache to a configuration that wants one like it,
// if there is one. One that is closing is waited for: the embedded store saves
// its records then, which are what the next one reads.
func (p *Process) revive(key string) (*Shared, bool) {
	p.mu.Lock()
	l, ok := p.retired[key]
	delete(p.retired, key)
	p.mu.Unlock()
	if !ok {
		return nil, false
	}
	if l.timer.Stop() {
		return l.Shared, true
	}
	close(l.hurry)
	<-l.closed
	return nil, false
}

// Join makes a configuration one of those that use the process's caches.
func Join() *Process {
	v, _, _ := usage.LoadOrNew(processKey, func() (caddy.Destructor, error) {
		return &Process{
			stats: cache.NewStats(), retired: make(map[string]*closing), pending: make(map[string]*cache.Pending),
		}, nil
	})
	return v.(*Process)
}

// Leave ends what Join began.
func (p *Process) Leave() { _, _ = usage.Delete(processKey) }

// Started makes an app the newest of those that run.
func (p *Process) Started(a App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = append(p.apps, a)
	a.ApplyShared(p.stats)
}

// Ended is the end of an app that may have started. The newest one is then the
// former again, where a new one has failed to start.
func (p *Process) Ended(a App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = slices.DeleteFunc(p.apps, func(b App) bool { return a == b })
	if len(p.apps) > 0 {
		p.apps[len(p.apps)-1].ApplyShared(p.stats)
	}
}

// Running is the app that started last. The admin API is made before any
// app is and outlives none, so it asks anew each time.
func Running() (lookup.App, bool) {
	var newest App
	usage.Range(func(_, value any) bool {
		p, ok := value.(*Process)
		if !ok {
			return true
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.apps) > 0 {
			newest = p.apps[len(p.apps)-1]
		}
		return false
	})
	return newest, newest != nil
}

// Shared is a cache with the key it has in the usage pool.
type Shared struct {
	*cache.Cache
	key     string
	process *Process
	holders atomic.Int64
}

// Opener makes a store; the fingerprint is equal for options that make equal ones.
type Opener struct {
	Fingerprint string
	// Place is where the records are: stores of one place have the same
	// records, however they are reached.
	Place  string
	Open   func(*cache.Stats) (cache.Store, error)
	Near   *near.Options // nil: no copies
	Logger *slog.Logger  // of pending invalidations
}

// Destruct is called by the pool when the last user has let go of the cache.
func (s *Shared) Destruct() error { return s.process.retire(s) }

// Acquire makes a cache, or finds the one that has the same fingerprint. It is
// the only door to the pool of caches.
func (p *Process) Acquire(o Opener) (*Shared, error) {
	v, _, err := usage.LoadOrNew(o.Fingerprint, func() (caddy.Destructor, error) {
		if s, ok := p.revive(o.Fingerprint); ok {
			return s, nil
		}
		store, err := o.Open(p.stats)
		if err != nil {
			return nil, err
		}
		c := cache.New(store, p.stats)
		c.SharePending(p.pendingAt(o.Place, o.Logger))
		if o.Near != nil {
			c.EnableNear(*o.Near)
		}
		return &Shared{Cache: c, key: o.Fingerprint, process: p}, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Shared), nil
}

// pendingAt has the invalidations that are pending in a place. They outlive
// the configuration under which they were asked for.
func (p *Process) pendingAt(place string, logger *slog.Logger) *cache.Pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending[place] == nil {
		p.pending[place] = cache.NewPending(logger)
	}
	return p.pending[place]
}

// Hold keeps the cache open until release is called, also where its last
// configuration ends meanwhile, but for the end of the process and a
// configuration that opens the same store anew.
func (s *Shared) Hold() (release func()) {
	s.holders.Add(1)
	return func() { s.holders.Add(-1) }
}

// Release ends what Acquire began. The cache closes with its last user, and
// stays open before that for as long as requests may use it.
func (s *Shared) Release() error {
	_, err := usage.Delete(s.key)
	return err
}
