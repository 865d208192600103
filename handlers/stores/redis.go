package stores

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache/redis"
)

// Redis configures the shared store: a Redis server, a master with sentinels, or a
// cluster. Values that are not set come from the environment (REDIS_URL, or
// REDIS_HOST, REDIS_PORT, REDIS_USERNAME, REDIS_PASSWORD and REDIS_DB), then from
// the profile. Texts take {env.*} and {file.*}.
type Redis struct {
	// The profile with defaults of address, pool and timeouts: development,
	// kubernetes or production. Default: the environment variable ENVIRONMENT,
	// or development.
	Profile string `json:"profile,omitempty"`
	// A URL in place of the addresses: redis://, rediss:// (TLS) or unix://.
	// Default: none.
	URL string `json:"url,omitempty"`
	// host:port, or the path of a unix socket. Several are nodes of a cluster
	// or sentinels. Default: port 6379 of the host of the profile.
	Addresses []string `json:"addresses,omitempty"`
	// simple, failover or cluster. Default: failover with a master_name,
	// cluster with several addresses, else simple.
	ClientType string `json:"client_type,omitempty"`
	// The name of the master in the configuration of the sentinels. Default:
	// none; failover needs one.
	MasterName string `json:"master_name,omitempty"`
	// The user for the sentinels. Default: none.
	SentinelUsername string `json:"sentinel_username,omitempty"`
	// The password for the sentinels. Default: none.
	SentinelPassword string `json:"sentinel_password,omitempty"`
	// The user for Redis. Default: Redis' default user.
	Username string `json:"username,omitempty"`
	// The password for Redis. Default: none.
	Password string `json:"password,omitempty"`
	// The number of the database; a cluster has only 0. Default: 0.
	DB *int `json:"db,omitempty"`
	// How connections are encrypted, those to sentinels included. Default:
	// plain text.
	TLS *TLS `json:"tls,omitempty"`
	// Where records are read: primary, replicas or nearest. Replicas lag, so a
	// deleted session is accepted for as long as the lag. Default: primary.
	ReadFrom string `json:"read_from,omitempty"`
	// The number of connections per node. Default: 10, 30 or 50, by profile.
	PoolSize int `json:"pool_size,omitempty"`
	// How many idle connections are kept open. Default: 0.
	MinIdleConns int `json:"min_idle_conns,omitempty"`
	// The most connections at a time; a call that needs one more fails at once.
	// Default: 0, which means that pool_size is the limit and calls wait.
	MaxActiveConns int `json:"max_active_conns,omitempty"`
	// How long a call waits for a connection of a full pool, as a duration.
	// Default: read_timeout plus 1s.
	PoolTimeout caddy.Duration `json:"pool_timeout,omitempty"`
	// How long an idle connection is kept, as a duration. Default: 30m.
	ConnMaxIdleTime caddy.Duration `json:"conn_max_idle_time,omitempty"`
	// How long a connection is used, as a duration. Default: 0, no limit.
	ConnMaxLifetime caddy.Duration `json:"conn_max_lifetime,omitempty"`
	// The longest time to connect, per attempt, as a duration. Default: 3s, 5s
	// or 10s, by profile.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`
	// The longest time to read an answer, per attempt, as a duration. Default:
	// 3s, 5s or 10s, by profile.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`
	// The longest time to write a command, per attempt, as a duration. Default:
	// 3s, 5s or 10s, by profile.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`
	// How often a failed attempt is repeated within lookup_timeout; -1 means
	// never. Default: 3.
	MaxRetries int `json:"max_retries,omitempty"`
	// The shortest pause between two attempts, as a duration. Default: 10ms.
	RetryBackoffMin caddy.Duration `json:"retry_backoff_min,omitempty"`
	// The longest pause between two attempts, as a duration. Default: 100ms.
	RetryBackoffMax caddy.Duration `json:"retry_backoff_max,omitempty"`
	// How often Redis is checked, as a duration. A change of its state is logged
	// once. Default: 30s.
	HealthCheckInterval caddy.Duration `json:"health_check_interval,omitempty"`
	// The circuit breaker of each node. Default: it opens for 1s after 5
	// failures.
	Breaker *Breaker `json:"breaker,omitempty"`
}

// Breaker configures the circuit breaker of a node of Redis: while it is open, calls fail
// without a request to the node.
type Breaker struct {
	// Whether there is no circuit breaker. Default: false.
	Off bool `json:"off,omitempty"`
	// How many failures in a row open it. Default: 5.
	Failures int `json:"failures,omitempty"`
	// How long it stays open before one call tries again, as a duration.
	// Default: 1s.
	CoolDown caddy.Duration `json:"cool_down,omitempty"`
}

// TLS configures the encryption of connections to Redis. Files are PEM.
type TLS struct {
	// Files with the certificate authorities to trust. Default: those of the
	// system.
	CA []string `json:"ca,omitempty"`
	// The file with the client's certificate. Default: none.
	Cert string `json:"cert,omitempty"`
	// The file with the key of the client's certificate. Default: none.
	Key string `json:"key,omitempty"`
	// The name that the server's certificate must have. Default: the host of
	// the address.
	ServerName string `json:"server_name,omitempty"`
	// Whether any certificate is accepted; for tests only. Default: false.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// Options resolves the placeholders of the configuration.
func (c *Redis) Options() (redis.Options, error) {
	o := redis.Options{
		Profile: c.Profile, ClientType: c.ClientType, DB: c.DB, ReadFrom: c.ReadFrom,
		PoolSize: c.PoolSize, MinIdleConns: c.MinIdleConns, MaxActiveConns: c.MaxActiveConns,
		PoolTimeout: time.Duration(c.PoolTimeout), ConnMaxIdleTime: time.Duration(c.ConnMaxIdleTime),
		ConnMaxLifetime: time.Duration(c.ConnMaxLifetime), DialTimeout: time.Duration(c.DialTimeout),
		ReadTimeout: time.Duration(c.ReadTimeout), WriteTimeout: time.Duration(c.WriteTimeout),
		MaxRetries: c.MaxRetries, RetryBackoffMin: time.Duration(c.RetryBackoffMin),
		RetryBackoffMax: time.Duration(c.RetryBackoffMax), HealthCheckInterval: time.Duration(c.HealthCheckInterval),
		Addresses: slices.Clone(c.Addresses),
	}
	if b := c.Breaker; b != nil {
		o.BreakerOff, o.BreakerFailures, o.BreakerCoolDown = b.Off, b.Failures, time.Duration(b.CoolDown)
	}
	texts := []text{
		{"url", c.URL, &o.URL}, {"master_name", c.MasterName, &o.MasterName},
		{"sentinel_username", c.SentinelUsername, &o.SentinelUsername},
		{"sentinel_password", c.SentinelPassword, &o.SentinelPassword},
		{"username", c.Username, &o.Username}, {"password", c.Password, &o.Password},
	}
	for i := range o.Addresses {
		texts = append(texts, text{"address", c.Addresses[i], &o.Addresses[i]})
	}
	if c.TLS != nil {
		o.TLS = &redis.TLS{InsecureSkipVerify: c.TLS.InsecureSkipVerify, CA: slices.Clone(c.TLS.CA)}
		texts = append(texts, text{"cert", c.TLS.Cert, &o.TLS.Cert}, text{"key", c.TLS.Key, &o.TLS.Key},
			text{"server_name", c.TLS.ServerName, &o.TLS.ServerName})
		for i := range o.TLS.CA {
			texts = append(texts, text{"ca", c.TLS.CA[i], &o.TLS.CA[i]})
		}
	}
	for _, t := range texts {
		var err error
		if *t.to, err = Replaced("redis "+t.setting, t.value); err != nil {
			return redis.Options{}, err
		}
		if t.value != "" && *t.to == "" {
			return redis.Options{}, fmt.Errorf("redis %s: %s is empty: give it a value, or leave the line out", t.setting, t.value)
		}
	}
	return o, nil
}

// text is a setting that takes placeholders.
type text struct {
	setting, value string
	to             *string
}
