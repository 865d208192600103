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
	if err := a.options().Unmarshal(d, "filewallball"); err != nil {
		return err
	}
	if a.Redis != nil && a.Memory != nil {
		return d.Err("redis and memory are both given: memory is the store without redis, leave out one")
	}
	return nil
}

// options are the lines of the global option's block.
func (a *App) options() directive.Options {
	return directive.Options{
		{Name: "redis", Args: "[<address...>] { … }", Read: func(d *caddyfile.Dispenser) error {
			a.Redis = new(stores.Redis)
			return a.Redis.Unmarshal(d)
		}},
		directive.Text("key_prefix", "<prefix>", &a.Prefix),
		directive.Value("lookup_timeout", "<duration>", &a.LookupTimeout, directive.Duration),
		directive.Value("max_value_size", "<size>", &a.MaxValueSize, directive.Size),
		{Name: "ttl", Args: "<family> <duration>", Repeatable: true, Read: a.unmarshalTTL},
		{Name: "near_cache", Args: "{ … } | off", Read: func(d *caddyfile.Dispenser) error {
			a.NearCache = new(stores.NearCache)
			return a.NearCache.Unmarshal(d)
		}},
		{Name: "memory", Args: "{ … }", Read: func(d *caddyfile.Dispenser) error {
			a.Memory = new(stores.Memory)
			return a.Memory.Unmarshal(d)
		}},
		{Name: "alert", Args: "{ … }", Read: func(d *caddyfile.Dispenser) error {
			a.Alert = new(Alert)
			return a.Alert.options().UnmarshalBlock(d, "alert")
		}},
		directive.Pointer("cache_status", "off", &a.CacheStatus, directive.OnOff),
	}
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

func (c *Alert) options() directive.Options {
	return directive.Options{
		directive.Value("hit_rate_below", "<percent>", &c.HitRateBelow, directive.Percent),
		directive.Value("latency_above", "<duration>", &c.LatencyAbove, directive.Duration),
		directive.Value("memory_above", "<percent>", &c.MemoryAbove, directive.Percent),
		{Name: "clients_above", Args: "<n>", Read: func(d *caddyfile.Dispenser) error {
			n, err := directive.Count(1)(d)
			c.ClientsAbove = int64(n)
			return err
		}},
	}
}

// Interface guard
var _ caddyfile.Unmarshaler = (*App)(nil)
