// Package lifetime has what outlives a configuration: caches with their
// connections and records, the counters, and which configuration is the newest.
package lifetime

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/health"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// App is the app of one configuration.
type App interface {
	lookup.App
	// ApplyShared is called when the app becomes the newest. It applies its
	// configuration to what all configurations share.
	ApplyShared(*cache.Stats)
}

// usage has what outlives a configuration: the process under processKey, and
// each shared cache under the fingerprint of its options.
var usage = caddy.NewUsagePool()

const processKey = "process"

// Process has the state that all configurations of this process share. It stays in the
// pool while a configuration or a retired cache uses it.
type Process struct {
	stats *cache.Stats
	// alerts are the checks of health that do not pass.
	alerts health.Alerts
	mu     sync.Mutex
	// members is the number of configurations that have joined and not left.
	members int
	apps    []App // those that have started and not ended, the newest last
	// retired are caches that no configuration uses any more and that are not
	// closed yet, by their keys in the pool.
	retired map[string]*retirement
	// places have the pending invalidations, by the place of the records.
	places map[string]*place
}

// place is a store with its records, whose caches may differ in options.
type place struct {
	pending *cache.Pending
	caches  int // the number of caches of its records
}

// Join makes a configuration one of those that use the process's caches.
func Join() *Process {
	p := join()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members++
	return p
}

func join() *Process {
	v, _, _ := usage.LoadOrNew(processKey, func() (caddy.Destructor, error) {
		return &Process{
			stats: cache.NewStats(), retired: make(map[string]*retirement), places: make(map[string]*place),
		}, nil
	})
	return v.(*Process)
}

// Alerts are the checks of health that do not pass.
func (p *Process) Alerts() *health.Alerts { return &p.alerts }

// Stats are the counters of the process.
func (p *Process) Stats() *cache.Stats { return p.stats }

// Leave undoes Join. When the last configuration leaves, retired caches close at
// once, except for those that requests hold.
func (p *Process) Leave() {
	p.mu.Lock()
	p.members--
	last := p.members == 0
	p.mu.Unlock()
	if last {
		p.closeRetired(caddy.Exiting())
	}
	_, _ = usage.Delete(processKey)
}

// Destruct is called by the pool when no configuration and no retired cache uses the
// plugin. There is nothing to do.
func (p *Process) Destruct() error { return nil }

// Exit closes all caches that no configuration uses any more, including those that requests
// hold, because the process ends.
func Exit(context.Context) {
	if p, ok := running(); ok {
		p.closeRetired(true)
	}
}

// Started makes an app the newest of those that run.
func (p *Process) Started(a App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = append(p.apps, a)
	a.ApplyShared(p.stats)
}

// Ended removes an app that may have started. If a new app fails to start, the
// previous one is the newest again.
func (p *Process) Ended(a App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = slices.DeleteFunc(p.apps, func(b App) bool { return a == b })
	if len(p.apps) > 0 {
		p.apps[len(p.apps)-1].ApplyShared(p.stats)
	}
}

// Running is the app that started last. The admin API exists before any app, so
// it calls Running for each request.
func Running() (lookup.App, bool) {
	p, ok := running()
	if !ok {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.apps) == 0 {
		return nil, false
	}
	return p.apps[len(p.apps)-1], true
}

// running returns the process, if a configuration or a retired cache uses it.
func running() (found *Process, ok bool) {
	usage.Range(func(_, value any) bool {
		found, ok = value.(*Process)
		return !ok
	})
	return found, ok
}

// enter adds a cache to a place and returns the place's pending invalidations. They outlive
// the configuration in which they began.
func (p *Process) enter(name string, logger *slog.Logger) *cache.Pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.places[name]
	if at == nil {
		at = &place{pending: cache.NewPending(logger)}
		p.places[name] = at
	}
	at.caches++
	return at.pending
}

// depart removes a cache from a place. If invalidations are pending, the place stays for
// the next cache.
func (p *Process) depart(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.places[name]
	if at.caches--; at.caches == 0 && at.pending.Stats().Total() == 0 {
		delete(p.places, name)
	}
}
