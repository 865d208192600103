package filewallball

import (
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers"
	"github.com/filewallball/caddy-filewallball/handlers/directive"
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
	return httpcaddyfile.App{Name: handlers.AppID, Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile reads the app from Caddyfile tokens:
//
//	filewallball {
//		redis [<address...>] { … }      # see (*Redis).unmarshal
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
		var err error
		switch name {
		case "redis":
			a.Redis = new(Redis)
			err = a.Redis.unmarshal(d)
		case "key_prefix":
			a.Prefix, err = directive.OneArg(d)
		case "lookup_timeout":
			a.LookupTimeout, err = directive.Duration(d)
		case "max_value_size":
			a.MaxValueSize, err = directive.Size(d)
		case "ttl":
			err = a.unmarshalTTL(d)
		case "near_cache":
			a.NearCache = new(NearCache)
			err = a.NearCache.unmarshal(d)
		case "memory":
			a.Memory = new(Memory)
			err = a.Memory.unmarshal(d)
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
		return d.Err("redis and memory are both given: memory is the store only where there is no redis")
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
	if (&handlers.Policy{Families: cache.Families()}).Family(family).Name == "" {
		return d.Errf("ttl: family '%s' is not known: want one of %s", family, names)
	}
	if _, ok := a.TTL[family]; ok {
		return d.Errf("ttl of %s is given twice: once is all it takes", family)
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

func (c *NearCache) unmarshal(d *caddyfile.Dispenser) error {
	const want = "near_cache takes off, or a block with max_size and ttl"
	if args := d.RemainingArgs(); len(args) > 0 {
		if c.Off = len(args) == 1 && args[0] == "off"; !c.Off {
			return d.Errf("unexpected '%s': %s", args[0], want)
		}
	}
	return block(d, want, func(name string) (known bool, err error) {
		switch name {
		case "max_size":
			c.MaxSize, err = directive.Size(d)
		case "ttl":
			c.TTL, err = directive.Duration(d)
		default:
			return false, nil
		}
		if c.Off {
			return true, d.Errf("near_cache is off and takes no %s", name)
		}
		return true, err
	})
}

func (m *Memory) unmarshal(d *caddyfile.Dispenser) error {
	return block(d, "memory takes max_size and persist", func(name string) (known bool, err error) {
		switch name {
		case "max_size":
			m.MaxSize, err = directive.Size(d)
		case "persist":
			err = m.unmarshalPersist(d)
		default:
			return false, nil
		}
		return true, err
	})
}

func (m *Memory) unmarshalPersist(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 || args[0] == "" {
		return d.Err("persist takes a file, and maybe how often it is saved, like /var/lib/caddy/records 1m")
	}
	m.Persist = args[0]
	if len(args) == 2 {
		interval, err := caddy.ParseDuration(args[1])
		if err != nil || interval < minPersistInterval {
			return d.Errf("persist: '%s' is not a duration of at least %s, like 1m", args[1], minPersistInterval)
		}
		m.PersistInterval = caddy.Duration(interval)
	}
	return nil
}

func (c *Alert) unmarshal(d *caddyfile.Dispenser) error {
	const want = "alert takes hit_rate_below, latency_above, memory_above and clients_above"
	return block(d, want, func(name string) (known bool, err error) {
		switch name {
		case "hit_rate_below":
			c.HitRateBelow, err = percent(d)
		case "latency_above":
			c.LatencyAbove, err = directive.Duration(d)
		case "memory_above":
			c.MemoryAbove, err = percent(d)
		case "clients_above":
			var n int
			n, err = count(d, 1)
			c.ClientsAbove = int64(n)
		default:
			return false, nil
		}
		return true, err
	})
}

// unmarshal reads the redis block:
//
//	redis [<address...>] {
//		profile <development|kubernetes|production>
//		url <redis://… | rediss://… | unix://…>
//		address <host:port...>
//		client_type <simple|failover|cluster>
//		master_name <name>
//		sentinel_username <name>
//		sentinel_password <secret>
//		username <name>
//		password <secret>
//		db <n>
//		tls {
//			ca <pem file...>
//			cert <pem file> <key file>
//			server_name <name>
//			insecure_skip_verify
//		}
//		read_from <primary|replicas|nearest>
//		pool_size <n>
//		min_idle_conns <n>
//		max_active_conns <n>
//		pool_timeout <duration>
//		conn_max_idle_time <duration>
//		conn_max_lifetime <duration>
//		dial_timeout <duration>
//		read_timeout <duration>
//		write_timeout <duration>
//		max_retries <n>
//		retry_backoff <min> <max>
//		health_check_interval <duration>
//		breaker <failures> <cool_down> | off
//	}
func (c *Redis) unmarshal(d *caddyfile.Dispenser) error {
	c.Addresses = d.RemainingArgs()
	const want = "redis takes profile, url, address, client_type, master_name, sentinel_username, sentinel_password, " +
		"username, password, db, tls, read_from, pool_size, min_idle_conns, max_active_conns, pool_timeout, " +
		"conn_max_idle_time, conn_max_lifetime, dial_timeout, read_timeout, write_timeout, max_retries, " +
		"retry_backoff, health_check_interval and breaker"
	return block(d, want, func(name string) (known bool, err error) {
		switch name {
		case "profile":
			c.Profile, err = oneOf(d, "development", "kubernetes", "production")
		case "url":
			c.URL, err = directive.OneArg(d)
		case "address":
			if len(c.Addresses) > 0 {
				return true, d.Err("addresses are given after redis and after address: give them in one place")
			}
			if c.Addresses = d.RemainingArgs(); len(c.Addresses) == 0 {
				return true, d.Err("address takes one host:port or more")
			}
		case "client_type":
			c.ClientType, err = oneOf(d, "simple", "failover", "cluster")
		case "master_name":
			c.MasterName, err = directive.OneArg(d)
		case "sentinel_username":
			c.SentinelUsername, err = directive.OneArg(d)
		case "sentinel_password":
			c.SentinelPassword, err = directive.OneArg(d)
		case "username":
			c.Username, err = directive.OneArg(d)
		case "password":
			c.Password, err = directive.OneArg(d)
		case "db":
			var db int
			db, err = count(d, 0)
			c.DB = &db
		case "tls":
			c.TLS = new(TLS)
			err = c.TLS.unmarshal(d)
		case "read_from":
			c.ReadFrom, err = oneOf(d, "primary", "replicas", "nearest")
		case "pool_size":
			c.PoolSize, err = count(d, 1)
		case "min_idle_conns":
			c.MinIdleConns, err = count(d, 0)
		case "max_active_conns":
			c.MaxActiveConns, err = count(d, 1)
		case "pool_timeout":
			c.PoolTimeout, err = directive.Duration(d)
		case "conn_max_idle_time":
			c.ConnMaxIdleTime, err = directive.Duration(d)
		case "conn_max_lifetime":
			c.ConnMaxLifetime, err = directive.Duration(d)
		case "dial_timeout":
			c.DialTimeout, err = directive.Duration(d)
		case "read_timeout":
			c.ReadTimeout, err = directive.Duration(d)
		case "write_timeout":
			c.WriteTimeout, err = directive.Duration(d)
		case "max_retries":
			c.MaxRetries, err = count(d, -1)
		case "retry_backoff":
			c.RetryBackoffMin, c.RetryBackoffMax, err = backoff(d)
		case "health_check_interval":
			c.HealthCheckInterval, err = directive.Duration(d)
		case "breaker":
			c.Breaker = new(Breaker)
			err = c.Breaker.unmarshal(d)
		default:
			return false, nil
		}
		return true, err
	})
}

func (b *Breaker) unmarshal(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		b.Off = true
		return nil
	}
	const want = "breaker takes off, or how many failures open it and for how long, like 5 1s"
	if len(args) != 2 {
		return d.Err(want)
	}
	failures, err := strconv.Atoi(args[0])
	if err != nil || failures < 1 {
		return d.Errf("'%s' is not a number of failures: %s", args[0], want)
	}
	coolDown, err := caddy.ParseDuration(args[1])
	if err != nil || coolDown < time.Millisecond {
		return d.Errf("'%s' is not a duration of at least 1ms: %s", args[1], want)
	}
	b.Failures, b.CoolDown = failures, caddy.Duration(coolDown)
	return nil
}

func (c *TLS) unmarshal(d *caddyfile.Dispenser) error {
	const want = "tls takes ca, cert, server_name and insecure_skip_verify"
	return block(d, want, func(name string) (known bool, err error) {
		switch name {
		case "ca":
			if c.CA = d.RemainingArgs(); len(c.CA) == 0 {
				err = d.Err("ca takes one PEM file or more")
			}
		case "cert":
			args := d.RemainingArgs()
			if len(args) != 2 {
				return true, d.Err("cert takes the PEM files of a certificate and of its key")
			}
			c.Cert, c.Key = args[0], args[1]
		case "server_name":
			c.ServerName, err = directive.OneArg(d)
		case "insecure_skip_verify":
			c.InsecureSkipVerify = true
			err = directive.NoArgs(d)
		default:
			return false, nil
		}
		return true, err
	})
}

// block reads a block of subdirectives that each may stand there once.
func block(d *caddyfile.Dispenser, want string, read func(name string) (known bool, err error)) error {
	if d.NextArg() {
		return d.Errf("unexpected '%s': %s", d.Val(), want)
	}
	once := make(directive.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if err := once.Check(d); err != nil {
			return err
		}
		known, err := read(name)
		if err != nil {
			return err
		}
		if !known {
			return d.Errf("unknown option '%s': %s", name, want)
		}
	}
	return nil
}

func oneOf(d *caddyfile.Dispenser, values ...string) (string, error) {
	name := d.Val()
	arg, err := directive.OneArg(d)
	if err != nil {
		return "", err
	}
	for _, value := range values {
		if arg == value {
			return arg, nil
		}
	}
	return "", d.Errf("%s: '%s' is not one of %s", name, arg, strings.Join(values, ", "))
}

func count(d *caddyfile.Dispenser, least int) (int, error) {
	name := d.Val()
	arg, err := directive.OneArg(d)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < least {
		return 0, d.Errf("%s: '%s' is not a whole number of at least %d", name, arg, least)
	}
	return n, nil
}

func percent(d *caddyfile.Dispenser) (float64, error) {
	name := d.Val()
	arg, err := directive.OneArg(d)
	if err != nil {
		return 0, err
	}
	p, err := strconv.ParseFloat(strings.TrimSuffix(arg, "%"), 64)
	if err != nil || !(p > 0 && p <= 100) {
		return 0, d.Errf("%s: '%s' is not a percentage above 0 and up to 100, like 80", name, arg)
	}
	return p, nil
}

func backoff(d *caddyfile.Dispenser) (least, most caddy.Duration, err error) {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return 0, 0, d.Err("retry_backoff takes the shortest and the longest pause, like 10ms 100ms")
	}
	var pauses [2]time.Duration
	for i, arg := range args {
		if pauses[i], err = caddy.ParseDuration(arg); err != nil || pauses[i] < time.Millisecond {
			return 0, 0, d.Errf("retry_backoff: '%s' is not a duration of at least 1ms, like 10ms", arg)
		}
	}
	if pauses[0] > pauses[1] {
		return 0, 0, d.Errf("retry_backoff: the shortest pause %s is longer than the longest %s", args[0], args[1])
	}
	return caddy.Duration(pauses[0]), caddy.Duration(pauses[1]), nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*App)(nil)
