package filewallball

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/stores"
)

// parseGlobalOption reads the global option.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the filewallball option is given twice: put everything into one block")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: lookup.AppID, Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile reads the app from Caddyfile tokens:
//
//	filewallball {
//		redis [<address...>] { … }      # see stores.Redis
//		key_prefix <prefix>
//		lookup_timeout <duration>
//		max_value_size <size>
//		ttl <family> <duration>
//		near_cache {
//			max_size <size>
//			ttl <duration>
//		} | near_cache off
//		memory {
//			max_size <size>
//			persist <file> [<interval>]
//		}
//		alert {
//			hit_rate_below <percent>
//			latency_above <duration>
//			memory_above <percent>
//			clients_above <n>
//		}
//		cache_status off
//	}
//
// All values take {env.*} and {file.*} where they are text.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.Errf("filewallball takes a block and no argument, but has '%s'", d.Val())
	}
	once := make(directive.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if name != "ttl" {
			if err := once.Check(d); err != nil {
				return err
			}
		}
		if err := directive.CheckLine(d); err != nil {
			return err
		}
		var err error
		switch name {
		case "redis":
			a.Redis = new(stores.Redis)
			err = a.Redis.Unmarshal(d)
		case "key_prefix":
			a.Prefix, err = directive.OneArg(d)
		case "lookup_timeout":
			a.LookupTimeout, err = directive.Duration(d)
		case "max_value_size":
			a.MaxValueSize, err = directive.Size(d)
		case "ttl":
			err = a.unmarshalTTL(d)
		case "near_cache":
			a.NearCache = new(stores.NearCache)
			err = a.NearCache.Unmarshal(d)
		case "memory":
			a.Memory = new(stores.Memory)
			err = a.Memory.Unmarshal(d)
		case "alert":
			a.Alert = new(Alert)
			err = a.Alert.unmarshal(d)
		case "cache_status":
			var on bool
			on, err = directive.OnOff(d)
			a.CacheStatus = &on
		default:
			err = d.Errf("unknown option '%s': filewallball takes redis, key_prefix, lookup_timeout, "+
				"max_value_size, ttl, near_cache, memory, alert and cache_status", name)
		}
		if err != nil {
			return err
		}
	}
	if a.Redis != nil && a.Memory != nil {
		return d.Err("redis and memory are both given: memory is the store without redis, leave out one")
	}
	return nil
}

func (a *App) unmarshalTTL(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	names := strings.Join(cache.FamilyNames(), ", ")
	if len(args) != 2 {
		return d.Errf("ttl takes a family (%s) and a duration", names)
	}
	family, value := args[0], args[1]
	if (&lookup.Policy{Families: cache.Families()}).Family(family).Name == "" {
		return d.Errf("ttl: family '%s' is not known: want one of %s", family, names)
	}
	if _, ok := a.TTL[family]; ok {
		return d.Errf("ttl of %s is given twice: give it once", family)
	}
	ttl, err := caddy.ParseDuration(value)
	if err != nil || ttl < cache.MinTTL {
		return d.Errf("ttl of %s: '%s' is not a duration of at least %s, like 30s or 24h", family, value, cache.MinTTL)
	}
	if a.TTL == nil {
		a.TTL = make(map[string]caddy.Duration)
	}
	a.TTL[family] = caddy.Duration(ttl)
	return nil
}

func (c *Alert) unmarshal(d *caddyfile.Dispenser) error {
	const want = "alert takes hit_rate_below, latency_above, memory_above and clients_above"
	return directive.Block(d, want, func(name string) (known bool, err error) {
		switch name {
		case "hit_rate_below":
			c.HitRateBelow, err = directive.Percent(d)
		case "latency_above":
			c.LatencyAbove, err = directive.Duration(d)
		case "memory_above":
			c.MemoryAbove, err = directive.Percent(d)
		case "clients_above":
			var n int
			n, err = directive.Count(d, 1)
			c.ClientsAbove = int64(n)
		default:
			return false, nil
		}
		return true, err
	})
}

// Interface guard
var _ caddyfile.Unmarshaler = (*App)(nil)
