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
	const want = "redis takes profile, url, address, client_type, master_name, sentinel_username, sentinel_password, " +
		"username, password, db, tls, read_from, pool_size, min_idle_conns, max_active_conns, pool_timeout, " +
		"conn_max_idle_time, conn_max_lifetime, dial_timeout, read_timeout, write_timeout, max_retries, " +
		"retry_backoff, health_check_interval and breaker"
	return directive.Block(d, want, func(name string) (known bool, err error) {
		switch name {
		case "profile":
			c.Profile, err = directive.OneOf(d, "development", "kubernetes", "production")
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
			c.ClientType, err = directive.OneOf(d, "simple", "failover", "cluster")
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
			db, err = directive.Count(d, 0)
			c.DB = &db
		case "tls":
			c.TLS = new(TLS)
			err = c.TLS.unmarshal(d)
		case "read_from":
			c.ReadFrom, err = directive.OneOf(d, "primary", "replicas", "nearest")
		case "pool_size":
			c.PoolSize, err = directive.Count(d, 1)
		case "min_idle_conns":
			c.MinIdleConns, err = directive.Count(d, 0)
		case "max_active_conns":
			c.MaxActiveConns, err = directive.Count(d, 1)
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
			c.MaxRetries, err = directive.Count(d, -1)
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

func (c *TLS) unmarshal(d *caddyfile.Dispenser) error {
	const want = "tls takes ca, cert, server_name and insecure_skip_verify"
	return directive.Block(d, want, func(name string) (known bool, err error) {
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
	return directive.Block(d, "memory takes max_size and persist", func(name string) (known bool, err error) {
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
	return directive.Block(d, "persist takes journal", func(name string) (known bool, err error) {
		if name != "journal" {
			return false, nil
		}
		journal, err := directive.OnOff(d)
		m.PersistJournal = &journal
		return true, err
	})
}

// Unmarshal reads
//
//	near_cache {
//		max_size <size>
//		ttl <duration>
//	} | near_cache off
func (c *NearCache) Unmarshal(d *caddyfile.Dispenser) error {
	const want = "near_cache takes off, or a block with max_size and ttl"
	if args := d.RemainingArgs(); len(args) > 0 {
		if c.Off = len(args) == 1 && args[0] == "off"; !c.Off {
			return d.Errf("unexpected '%s': %s", args[0], want)
		}
	}
	return directive.Block(d, want, func(name string) (known bool, err error) {
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
