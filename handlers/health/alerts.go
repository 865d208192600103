package health

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

// The events, for Caddy's events app.
const (
	StoreDown          = "filewallball.store_down"
	StoreUp            = "filewallball.store_up"
	StoreRefusesWrites = "filewallball.store_refuses_writes"
	NearIncoherent     = "filewallball.near_incoherent"
	NearCoherent       = "filewallball.near_coherent"
	AlertRaised        = "filewallball.alert_raised"
	AlertCleared       = "filewallball.alert_cleared"
	PersistFailed      = "filewallball.persist_failed"
	ConfigConflict     = "filewallball.config_conflict"
)

// Event is a change of state. Its data has no identity, key or secret.
type Event struct {
	Name string
	Data map[string]any
}

// Alerts tracks the checks that do not pass, so that each change is one event.
// It outlives a configuration. The zero value is ready to use.
type Alerts struct {
	mu         sync.Mutex
	cache      *cache.Cache // whose state it is
	raised     map[string]wire.HealthCheck
	incoherent bool
}

// unused is the output of events that clear alerts of a store that the configuration no
// longer has.
const unused = "the configuration no longer uses this store"

// Changes compares a report and the state of the near cache with the previous
// ones, and returns the changes in the order of the names of checks.
func (a *Alerts) Changes(report wire.Health, c *cache.Cache) (events []Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	events = a.setCache(c)
	store := c.Store().Name()
	now := make(map[string]wire.HealthCheck)
	_, down := a.raised[store+":ping"]
	for name, checks := range report.Checks {
		_, known := a.raised[name]
		if !known && down && report.Status != wire.HealthFail {
			continue // it may be a leftover of the outage: the next report shows
		}
		if check := checks[0]; check.Status != wire.HealthPass {
			now[name] = check
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, known := a.raised[name]; !known {
			events = append(events, raised(name, store, now[name])...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.raised)) {
		if _, still := now[name]; still {
			continue
		}
		if _, checked := report.Checks[name]; !checked && report.Status == wire.HealthFail {
			now[name] = a.raised[name] // the store does not answer, so the state is unknown
			continue
		}
		events = append(events, cleared(name, store))
	}
	a.raised = now
	near := c.Near()
	if incoherent := near.MaxBytes > 0 && !near.Coherent; incoherent != a.incoherent {
		a.incoherent = incoherent
		event := Event{NearCoherent, map[string]any{"store": store}}
		if incoherent {
			event.Name = NearIncoherent
			if doubt, ok := c.NearDoubt(); ok {
				event.Data["output"] = doubt.Reason
			}
		}
		events = append(events, event)
	}
	return events
}

// setCache removes the state of another cache and returns the events that clear it.
func (a *Alerts) setCache(c *cache.Cache) (events []Event) {
	old := a.cache
	a.cache = c
	if old == nil || old == c {
		return nil
	}
	store := old.Store().Name()
	for _, name := range slices.Sorted(maps.Keys(a.raised)) {
		events = append(events, cleared(name, store))
	}
	if a.incoherent {
		events = append(events, Event{NearCoherent, map[string]any{"store": store}})
	}
	for _, event := range events {
		event.Data["output"] = unused
	}
	a.raised, a.incoherent = nil, false
	return events
}

// cleared is the event of a check that passes again.
func cleared(name, store string) Event {
	if strings.HasSuffix(name, ":ping") {
		return Event{StoreUp, map[string]any{"store": store}}
	}
	return Event{AlertCleared, map[string]any{"check": name}}
}

// raised are the events of a check that no longer passes.
func raised(name, store string, check wire.HealthCheck) []Event {
	data := map[string]any{"check": name, "status": string(check.Status), "output": check.Output}
	switch {
	case strings.HasSuffix(name, ":ping"):
		return []Event{{StoreDown, map[string]any{"store": store, "output": check.Output}}}
	case strings.HasSuffix(name, ":refused_writes"):
		return []Event{{AlertRaised, data}, {StoreRefusesWrites, map[string]any{"store": store, "output": check.Output}}}
	case strings.HasSuffix(name, ":file"):
		return []Event{{AlertRaised, data}, {PersistFailed, map[string]any{"output": check.Output}}}
	}
	return []Event{{AlertRaised, data}}
}
