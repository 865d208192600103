package filewallball

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/cache/redis"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
	"github.com/filewallball/caddy-filewallball/handlers/stores"
)

// App owns the cache that all lookups share. Without configuration it is this
// process's memory.
type App struct {
	// The shared store. Default: none, records are in this process's memory.
	Redis *stores.Redis `json:"redis,omitempty"`

	// The embedded store, which is used without redis. Default: 256MiB.
	Memory *stores.Memory `json:"memory,omitempty"`

	// The near cache: copies of shared records in this process. Default: 64MiB
	// for 30s.
	NearCache *stores.NearCache `json:"near_cache,omitempty"`

	// The prefix of every key. Default: none.
	Prefix string `json:"key_prefix,omitempty"`

	// How long a request waits for the store, as a duration. Default: 500ms.
	LookupTimeout caddy.Duration `json:"lookup_timeout,omitempty"`

	// The largest record, in bytes of JSON. Default: 1MiB.
	MaxValueSize int64 `json:"max_value_size,omitempty"`

	// How long records live, as a duration by family. Default: file_meta 1h,
	// session 24h, upload_progress 10m.
	TTL map[string]caddy.Duration `json:"ttl,omitempty"`

	// The thresholds at which health warns. Default: those of each field.
	Alert *Alert `json:"alert,omitempty"`

	// Whether responses get a Cache-Status field (RFC 9211). Default: true.
	CacheStatus *bool `json:"cache_status,omitempty"`

	ctx     context.Context // ends with the configuration
	policy  lookup.Policy
	memory  memory.Options
	process *lifetime.Process
	shared  *lifetime.Shared
	redis   redis.Options // resolved
	watch   *watch

	hashPace *filesource.Pace

	names   *lookup.RouteNames
	lookups *lookup.Lookups
}

// Alert has the thresholds at which health warns. Zero means the default.
type Alert struct {
	// The lowest hit rate of lookups, in percent. Default: 80.
	HitRateBelow float64 `json:"hit_rate_below,omitempty"`
	// The highest 95th percentile of round trips to Redis, as a duration.
	// Default: 10ms.
	LatencyAbove caddy.Duration `json:"latency_above,omitempty"`
	// The highest use of memory, in percent of Redis' maxmemory or, without one,
	// of the memory of its machine. Default: 80.
	MemoryAbove float64 `json:"memory_above,omitempty"`
	// The most clients connected to Redis. Default: 1000.
	ClientsAbove int64 `json:"clients_above,omitempty"`
}

// provisionPolicy resolves the settings that all lookups share, and their defaults.
func (a *App) provisionPolicy() error {
	prefix, err := stores.Replaced("key_prefix", a.Prefix)
	if err != nil {
		return err
	}
	if err := cache.CheckIdentity(prefix); err != nil {
		return fmt.Errorf("key_prefix: want printable UTF-8 text: %w", err)
	}
	switch {
	case a.Prefix != "" && prefix == "":
		return fmt.Errorf("key_prefix: %s is empty: give it a value, or leave the line out", a.Prefix)
	case strings.HasPrefix(prefix, cache.OwnPrefix):
		return fmt.Errorf("key_prefix begins with %s, which is for the plugin's own keys: write another text", cache.OwnPrefix)
	}
	a.policy = lookup.Policy{
		KeyPrefix:     prefix,
		Families:      cache.Families(),
		LookupTimeout: time.Duration(a.LookupTimeout),
		MaxValueSize:  int(a.MaxValueSize),
		CacheStatus:   a.CacheStatus == nil || *a.CacheStatus,
		Alert: lookup.Alert{
			HitRateBelow: 80, LatencyAbove: 10 * time.Millisecond, MemoryAbove: 80, ClientsAbove: 1000,
		},
	}
	if a.LookupTimeout == 0 {
		a.policy.LookupTimeout = cache.DefaultLookupTimeout
	}
	if a.MaxValueSize == 0 {
		a.policy.MaxValueSize = cache.DefaultMaxValueSize
	}
	known := make(map[string]bool)
	for i, family := range a.policy.Families {
		known[family.Name] = true
		if ttl, ok := a.TTL[family.Name]; ok {
			a.policy.Families[i].TTL = time.Duration(ttl)
		}
	}
	for name := range a.TTL {
		if !known[name] {
			return fmt.Errorf("ttl: family '%s' is not known: want one of %v", name, cache.FamilyNames())
		}
	}
	a.Alert.apply(&a.policy.Alert)
	return nil
}

func (c *Alert) validate() error {
	if c == nil {
		return nil
	}
	for name, percent := range map[string]float64{"hit_rate_below": c.HitRateBelow, "memory_above": c.MemoryAbove} {
		if percent != 0 && !(percent >= 1 && percent <= 100) {
			return fmt.Errorf("alert: %s is %g: want a percentage from 1 to 100, like 80", name, percent)
		}
	}
	switch {
	case c.LatencyAbove < 0:
		return fmt.Errorf("alert: latency_above is %s: want a duration above 0, like 10ms", time.Duration(c.LatencyAbove))
	case c.ClientsAbove < 0:
		return fmt.Errorf("alert: clients_above is %d: want a number above 0, like 1000", c.ClientsAbove)
	}
	return nil
}

func (c *Alert) apply(to *lookup.Alert) {
	if c == nil {
		return
	}
	if c.HitRateBelow != 0 {
		to.HitRateBelow = c.HitRateBelow
	}
	if c.LatencyAbove != 0 {
		to.LatencyAbove = time.Duration(c.LatencyAbove)
	}
	if c.MemoryAbove != 0 {
		to.MemoryAbove = c.MemoryAbove
	}
	if c.ClientsAbove != 0 {
		to.ClientsAbove = c.ClientsAbove
	}
}

// Validate checks what Provision only reads.
func (a *App) Validate() error {
	if a.Redis != nil && a.Memory != nil {
		return fmt.Errorf("redis and memory are both configured: memory is the store without redis, leave out one")
	}
	if m := a.Memory; m != nil && m.PersistJournal != nil && m.Persist == "" {
		return fmt.Errorf("memory: persist_journal needs persist, the name of the file")
	}
	if m := a.Memory; m != nil && m.PersistInterval != 0 {
		if m.Persist == "" {
			return fmt.Errorf("memory: persist_interval needs persist, the name of the file")
		}
		if time.Duration(m.PersistInterval) < stores.MinPersistInterval {
			return fmt.Errorf("memory: persist_interval is %s: want at least %s", time.Duration(m.PersistInterval), stores.MinPersistInterval)
		}
	}
	if err := a.Alert.validate(); err != nil {
		return err
	}
	if n := a.NearCache; n != nil && (n.MaxSize < 0 || n.TTL < 0) {
		return fmt.Errorf("near_cache: max_size and ttl cannot be negative: want a size like 64MiB and a duration like 30s")
	}
	if a.LookupTimeout < 0 || a.MaxValueSize < 0 {
		return fmt.Errorf("lookup_timeout and max_value_size cannot be negative")
	}
	for name, ttl := range a.TTL {
		if time.Duration(ttl) < cache.MinTTL {
			return fmt.Errorf("ttl of %s is %s: want at least %s", name, time.Duration(ttl), cache.MinTTL)
		}
	}
	return nil
}
