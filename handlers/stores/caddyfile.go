// How the options of stores are read from a Caddyfile.

package stores

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// Unmarshal reads the block of options:
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
func (c *Redis) Unmarshal(d *caddyfile.Dispenser) error {
	c.Addresses = d.RemainingArgs()
	return append(c.serverOptions(), c.connectionOptions()...).Unmarshal(d, "redis")
}

// serverOptions are the options that say which servers are used, and how a connection
// to them logs in.
func (c *Redis) serverOptions() directive.Options {
	return directive.Options{
		directive.Value("profile", "<development|kubernetes|production>", &c.Profile, directive.OneOf("development", "kubernetes", "production")),
		directive.Text("url", "<redis://… | rediss://… | unix://…>", &c.URL),
		{Name: "address", Args: "<host:port...>", Read: c.unmarshalAddresses},
		directive.Value("client_type", "<simple|failover|cluster>", &c.ClientType, directive.OneOf("simple", "failover", "cluster")),
		directive.Text("master_name", "<name>", &c.MasterName),
		directive.Text("sentinel_username", "<name>", &c.SentinelUsername),
		directive.Text("sentinel_password", "<secret>", &c.SentinelPassword),
		directive.Text("username", "<name>", &c.Username),
		directive.Text("password", "<secret>", &c.Password),
		directive.Pointer("db", "<n>", &c.DB, directive.Count(0)),
		{Name: "tls", Args: "{ … }", Read: func(d *caddyfile.Dispenser) error {
			c.TLS = new(TLS)
			return c.TLS.options().UnmarshalBlock(d, "tls")
		}},
	}
}

// connectionOptions are the options of the pool, of timeouts, and of what happens when
// Redis does not answer.
func (c *Redis) connectionOptions() directive.Options {
	return directive.Options{
		directive.Value("read_from", "<primary|replicas|nearest>", &c.ReadFrom, directive.OneOf("primary", "replicas", "nearest")),
		directive.Value("pool_size", "<n>", &c.PoolSize, directive.Count(1)),
		directive.Value("min_idle_conns", "<n>", &c.MinIdleConns, directive.Count(0)),
		directive.Value("max_active_conns", "<n>", &c.MaxActiveConns, directive.Count(1)),
		directive.Value("pool_timeout", "<duration>", &c.PoolTimeout, directive.Duration),
		directive.Value("conn_max_idle_time", "<duration>", &c.ConnMaxIdleTime, directive.Duration),
		directive.Value("conn_max_lifetime", "<duration>", &c.ConnMaxLifetime, directive.Duration),
		directive.Value("dial_timeout", "<duration>", &c.DialTimeout, directive.Duration),
		directive.Value("read_timeout", "<duration>", &c.ReadTimeout, directive.Duration),
		directive.Value("write_timeout", "<duration>", &c.WriteTimeout, directive.Duration),
		directive.Value("max_retries", "<n>", &c.MaxRetries, directive.Count(-1)),
		{Name: "retry_backoff", Args: "<min> <max>", Read: func(d *caddyfile.Dispenser) (err error) {
			c.RetryBackoffMin, c.RetryBackoffMax, err = backoff(d)
			return err
		}},
		directive.Value("health_check_interval", "<duration>", &c.HealthCheckInterval, directive.Duration),
		{Name: "breaker", Args: "<failures> <cool_down> | off", Read: func(d *caddyfile.Dispenser) error {
			c.Breaker = new(Breaker)
			return c.Breaker.unmarshal(d)
		}},
	}
}

func (c *Redis) unmarshalAddresses(d *caddyfile.Dispenser) error {
	if len(c.Addresses) > 0 {
		return d.Err("addresses are given after redis and after address: give them in one place")
	}
	if c.Addresses = d.RemainingArgs(); len(c.Addresses) == 0 {
		return d.Err("address takes one host:port or more")
	}
	return nil
}

func (b *Breaker) unmarshal(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		b.Off = true
		return nil
	}
	const want = "breaker takes off, or the number of failures that open it and the time that it stays open, like 5 1s"
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

func (c *TLS) options() directive.Options {
	return directive.Options{
		{Name: "ca", Args: "<pem file...>", Read: func(d *caddyfile.Dispenser) error {
			if c.CA = d.RemainingArgs(); len(c.CA) == 0 {
				return d.Err("ca takes one PEM file or more")
			}
			return nil
		}},
		{Name: "cert", Args: "<pem file> <key file>", Read: func(d *caddyfile.Dispenser) error {
			if !d.AllArgs(&c.Cert, &c.Key) {
				return d.Err("cert takes the PEM files of a certificate and of its key")
			}
			return nil
		}},
		directive.Text("server_name", "<name>", &c.ServerName),
		directive.Flag("insecure_skip_verify", &c.InsecureSkipVerify),
	}
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

// Unmarshal reads
//
//	memory {
//		max_size <size>
//		persist <file> [<interval>] {
//			journal [on|off]
//		}
//	}
func (m *Memory) Unmarshal(d *caddyfile.Dispenser) error {
	return directive.Options{
		directive.Value("max_size", "<size>", &m.MaxSize, directive.Size),
		{Name: "persist", Args: "<file> [<interval>] { … }", Read: m.unmarshalPersist},
	}.UnmarshalBlock(d, "memory")
}

func (m *Memory) unmarshalPersist(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 || args[0] == "" {
		return d.Err("persist takes a file and optionally the interval of saves, like /var/lib/caddy/records 1m")
	}
	m.Persist = args[0]
	if len(args) == 2 {
		interval, err := caddy.ParseDuration(args[1])
		if err != nil || interval < MinPersistInterval {
			return d.Errf("persist: '%s' is not a duration of at least %s, like 1m", args[1], MinPersistInterval)
		}
		m.PersistInterval = caddy.Duration(interval)
	}
	return directive.Options{
		directive.Pointer("journal", "[on|off]", &m.PersistJournal, directive.OnOff),
	}.Unmarshal(d, "persist")
}

// Unmarshal reads
//
//	near_cache {
//		max_size <size>
//		ttl <duration>
//	} | near_cache off
func (c *NearCache) Unmarshal(d *caddyfile.Dispenser) error {
	if args := d.RemainingArgs(); len(args) > 0 {
		if c.Off = len(args) == 1 && args[0] == "off"; !c.Off {
			return d.Errf("unexpected '%s': near_cache takes off, or a block with max_size and ttl", args[0])
		}
	}
	options := directive.Options{
		directive.Value("max_size", "<size>", &c.MaxSize, directive.Size),
		directive.Value("ttl", "<duration>", &c.TTL, directive.Duration),
	}
	if c.Off {
		for i := range options {
			options[i].Read = func(d *caddyfile.Dispenser) error { return d.Errf("near_cache is off and takes no %s", d.Val()) }
		}
	}
	return options.Unmarshal(d, "near_cache")
}
