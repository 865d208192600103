package redis

import (
	"fmt"
	"time"
)

// Client types.
const (
	Simple   = "simple"
	Failover = "failover"
	Cluster  = "cluster"
)

// Where reads go.
const (
	Primary  = "primary"
	Replicas = "replicas"
	Nearest  = "nearest"
)

// Options say which Redis to use, and how. The zero value of each field means
// that it is not set; [Options.Resolve] finds the value then.
type Options struct {
	// Profile is development, kubernetes or production. Default: what
	// ENVIRONMENT says, else development.
	Profile string
	// URL is redis://, rediss:// or unix://, and stands for Addresses; what
	// else it says counts where no field does.
	URL string
	// Addresses are host:port, or one path of a unix socket: of the server,
	// of some nodes of the cluster, or of the sentinels.
	Addresses []string
	// ClientType is simple, failover or cluster. Default: failover with a
	// MasterName, cluster with several addresses, else simple.
	ClientType string
	// MasterName is what the sentinels call the master.
	MasterName string
	// SentinelUsername and SentinelPassword are for the sentinels.
	SentinelUsername, SentinelPassword string
	// Username and Password are for the servers.
	Username, Password string
	// DB is the number of the database. Default 0, the only one of a cluster.
	DB *int
	// TLS encrypts connections, to sentinels as well. Nil: plain text.
	TLS *TLS
	// ReadFrom is primary (default), replicas, or nearest: whichever answers
	// fastest. What a replica has is up to its lag older.
	ReadFrom string

	// PoolSize is how many connections there are, to each node of a cluster.
	// Default by profile: 10, 30, 50.
	PoolSize int
	// MinIdleConns are kept open. Default 0.
	MinIdleConns int
	// MaxActiveConns is the most connections that exist at a time; a call
	// that needs one more fails instead of waiting. Default 0: PoolSize bounds
	// them, and calls wait.
	MaxActiveConns int
	// PoolTimeout is how long a call waits for a connection, if its context
	// does not end before. Waiting in vain is no failure of the server, so it
	// does not open the circuit breaker. Default: a second more than ReadTimeout.
	PoolTimeout time.Duration
	// ConnMaxIdleTime is how long a connection is kept unused. Default 30m.
	ConnMaxIdleTime time.Duration
	// ConnMaxLifetime is how long a connection is used. Default 0: no limit.
	ConnMaxLifetime time.Duration
	// DialTimeout, ReadTimeout and WriteTimeout bound each attempt; the
	// caller's context bounds them all together. Default by profile: 3s, 5s, 10s.
	DialTimeout, ReadTimeout, WriteTimeout time.Duration
	// MaxRetries after a failed attempt. Default 3; -1 is none. A cluster's
	// redirections count as retries, and at least one is followed.
	MaxRetries int
	// RetryBackoffMin and RetryBackoffMax bound the wait before a retry.
	// Default 10ms and 100ms.
	RetryBackoffMin, RetryBackoffMax time.Duration
	// HealthCheckInterval is between questions whether Redis is up. Default 30s.
	HealthCheckInterval time.Duration

	// BreakerFailures in a row, or one refused connection, open the breaker of a
	// server. It closes when a probe in the background is answered; after
	// BreakerCoolDown a command may try as well. Default 5 and 1s. BreakerOff:
	// never.
	BreakerFailures int
	BreakerCoolDown time.Duration
	BreakerOff      bool

	// MaxValueSize is the largest record in bytes of JSON text. Default
	// [cache.DefaultMaxValueSize].
	MaxValueSize int
	// KeyPrefix goes in front of the keys of leases. Records' keys have it
	// already.
	KeyPrefix string
}

// TLS says how connections are encrypted. Files are PEM.
type TLS struct {
	// CA are files with authorities to trust instead of the system's.
	CA []string
	// Cert and Key are files with the client's certificate.
	Cert, Key string
	// ServerName is the name in the server's certificate. Default: the host
	// that is dialled.
	ServerName string
	// InsecureSkipVerify trusts anybody. For tests only.
	InsecureSkipVerify bool
}

// String names the servers, and no secret.
func (o Options) String() string {
	return fmt.Sprintf("redis %s %q", o.ClientType, o.Addresses)
}

// GoString is String, so that %#v shows no secret either.
func (o Options) GoString() string { return o.String() }

// db is the number of the database.
func (o *Options) db() int {
	if o.DB == nil {
		return 0
	}
	return *o.DB
}
