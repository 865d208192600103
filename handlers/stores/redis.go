package stores

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache/redis"
)

// Redis says where the shared store is and how it is talked to. What is not
// set comes from the environment (REDIS_URL, or REDIS_HOST, REDIS_PORT,
// REDIS_USERNAME, REDIS_PASSWORD and REDIS_DB), then from the profile.
type Redis struct {
	// development, kubernetes or production. Default: ENVIRONMENT of the
	// environment where that is one of them, else development.
	Profile string `json:"profile,omitempty"`
	// redis://, rediss:// or unix://
	URL string `json:"url,omitempty"`
	// host:port, or the path of a unix socket. Several are those of a
	// cluster or of sentinels.
	Addresses []string `json:"addresses,omitempty"`
	// simple, failover or cluster. Default: failover with a master_name,
	// cluster with several addresses, else simple.
	ClientType string `json:"client_type,omitempty"`
	// The master's name, as the sentinels know it.
	MasterName       string `json:"master_name,omitempty"`
	SentinelUsername string `json:"sentinel_username,omitempty"`
	SentinelPassword string `json:"sentinel_password,omitempty"`
	Username         string `json:"username,omitempty"`
	Password         string `json:"password,omitempty"`
	DB               *int   `json:"db,omitempty"`
	TLS              *TLS   `json:"tls,omitempty"`
	// primary (default), replicas or nearest.
	ReadFrom string `json:"read_from,omitempty"`
	// The most connections that are kept, of each node.
	PoolSize       int `json:"pool_size,omitempty"`
	MinIdleConns   int `json:"min_idle_conns,omitempty"`
	MaxActiveConns int `json:"max_active_conns,omitempty"`
	// How long to wait for a connection of a full pool.
	PoolTimeout     caddy.Duration `json:"pool_timeout,omitempty"`
	ConnMaxIdleTime caddy.Duration `json:"conn_max_idle_time,omitempty"`
	ConnMaxLifetime caddy.Duration `json:"conn_max_lifetime,omitempty"`
	DialTimeout     caddy.Duration `json:"dial_timeout,omitempty"`
	ReadTimeout     caddy.Duration `json:"read_timeout,omitempty"`
	WriteTimeout    caddy.Duration `json:"write_timeout,omitempty"`
	// Default 3; -1 turns retries off.
	MaxRetries          int            `json:"max_retries,omitempty"`
	RetryBackoffMin     caddy.Duration `json:"retry_backoff_min,omitempty"`
	RetryBackoffMax     caddy.Duration `json:"retry_backoff_max,omitempty"`
	HealthCheckInterval caddy.Duration `json:"health_check_interval,omitempty"`
	Breaker             *Breaker       `json:"breaker,omitempty"`
}

// Breaker leaves a node of Redis alone that has failed.
type Breaker struct {
	// Never.
	Off bool `json:"off,omitempty"`
	// So many failures in a row open it. Default 5.
	Failures int `json:"failures,omitempty"`
	// How long it stays open before one request tries again. Default 1s.
	CoolDown caddy.Duration `json:"cool_down,omitempty"`
}

// TLS says how connections to Redis are encrypted. Files are PEM.
type TLS struct {
	// Whom to trust instead of the system's authorities.
	CA []string `json:"ca,omitempty"`
	// The client's certificate and key.
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// The name in the server's certificate, where the address has another.
	ServerName string `json:"server_name,omitempty"`
	// Accept any certificate. For tests only. Default: false.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// Options puts environment and files into what is configured.
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
