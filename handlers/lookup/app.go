package lookup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// AppID is the ID of the app that owns the shared cache.
const AppID = "filewallball"

// App is the part of the app that the handlers use. It is usable as soon as it
// is provisioned.
type App interface {
	// Context ends with the app's configuration.
	Context() context.Context
	// Cache is the cache that all lookups share.
	Cache() *cache.Cache
	// Hold keeps the cache open until release is called. It is for a request that
	// may outlive its configuration.
	Hold() (release func())
	// Replaced reports whether the running configuration has another cache, or
	// there is none.
	Replaced() bool
	// Policy returns the settings of all lookups.
	Policy() *Policy
	// NameRoute returns the name of a route in statistics: the wanted one or, for
	// "", one made of the directive's name and a number.
	NameRoute(wanted, directive string) string
	// Lookups returns the lookups of the app's configuration.
	Lookups() *Lookups
}

// Policy has the settings of all lookups.
type Policy struct {
	// KeyPrefix begins every key.
	KeyPrefix string
	// Families with their configured TTLs.
	Families []cache.Family
	// LookupTimeout is the longest time that a request waits for the store.
	LookupTimeout time.Duration
	// MaxValueSize is the largest record, in bytes of JSON text.
	MaxValueSize int
	// CacheStatus reports whether responses get a Cache-Status field.
	CacheStatus bool
	// Alert has the thresholds of health.
	Alert Alert
}

// Alert has the thresholds at which health warns.
type Alert struct {
	HitRateBelow float64       // percent
	LatencyAbove time.Duration // p95 of a round trip to the store
	MemoryAbove  float64       // percent of the server's maxmemory
	ClientsAbove int64         // connected clients of the server
}

// Family is the family of that name, with its configured TTL.
func (p *Policy) Family(name string) cache.Family {
	for _, f := range p.Families {
		if f.Name == name {
			return f
		}
	}
	return cache.Family{}
}

// IsOwn reports whether a key belongs to the plugin itself and is not a record.
func (p *Policy) IsOwn(key string) bool {
	return strings.HasPrefix(key, p.KeyPrefix+cache.OwnPrefix)
}

// AppOf returns the app. If the configuration has none, it makes one with
// defaults.
func AppOf(ctx caddy.Context) (App, error) {
	v, err := ctx.App(AppID)
	if err != nil {
		return nil, fmt.Errorf("getting the %s app: %w", AppID, err)
	}
	app, ok := v.(App)
	if !ok {
		return nil, errors.New("the " + AppID + " app is of an unexpected type")
	}
	return app, nil
}
