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

// Options say which Redis to use, and how. The zero value of a field means that
// it is not set; [Options.Resolve] then sets it.
type Options struct {
	// Profile is development, kubernetes or production. Default: the environment
	// variable ENVIRONMENT, else development.
	Profile string
	// URL is redis://, rediss:// or unix://, and replaces Addresses. Other settings
	// in it are used where no field is set.
	URL string
	// Addresses are host:port, or one path of a unix socket: of the server, of some
	// nodes of the cluster, or of the sentinels.
	Addresses []string
	// ClientType is simple, failover or cluster. Default: failover with a
	// MasterName, cluster with several addresses, else simple.
	ClientType string
	// MasterName is the name of the master in the configuration of the sentinels.
	MasterName string
	// SentinelUsername and SentinelPassword are for the sentinels.
	SentinelUsername, SentinelPassword string
	// Username and Password are for the servers.
	Username, Password string
	// DB is the number of the database. Default 0, the only one of a cluster.
	DB *int
	// TLS encrypts connections, to sentinels as well. Nil: plain text.
	TLS *TLS
	// ReadFrom is primary (default), replicas, or nearest, which is the fastest
	// server. A replica is behind by its replication lag.
	ReadFrom string

	// PoolSize is the number of connections, per node of a cluster. Default by
	// profile: 10, 30, 50.
	PoolSize int
	// MinIdleConns is how many idle connections are kept open. Default 0.
	MinIdleConns int
	// MaxActiveConns is the largest number of connections at a time; a call that
	// needs one more fails at once. Default 0: PoolSize is the limit, and calls
	// wait for a connection.
	MaxActiveConns int
	// PoolTimeout is how long a call waits for a connection, unless its context
	// ends first. A call that gets none does not open the circuit breaker. Default:
	// ReadTimeout plus a second.
	PoolTimeout time.Duration
	// ConnMaxIdleTime is how long an idle connection is kept. Default 30m.
	ConnMaxIdleTime time.Duration
	// ConnMaxLifetime is how long a connection is used. Default 0: no limit.
	ConnMaxLifetime time.Duration
	// DialTimeout, ReadTimeout and WriteTimeout are the timeouts of one attempt;
	// the caller's context limits all attempts together. Default by profile: 3s,
	// 5s, 10s.
	DialTimeout, ReadTimeout, WriteTimeout time.Duration
	// MaxRetries is how often a failed attempt is repeated. Default 3; -1 means
	// never. A cluster's redirections count as retries, and at least one is
	// followed.
	MaxRetries int
	// RetryBackoffMin and RetryBackoffMax are the shortest and longest wait before
	// a retry. Default 10ms and 100ms.
	RetryBackoffMin, RetryBackoffMax time.Duration
	// HealthCheckInterval is the time between two pings. Default 30s.
	HealthCheckInterval time.Duration

	// BreakerFailures is how many failures in a row open the circuit breaker of a
	// server; one refused connection does as well. It closes when a probe in the
	// background is answered. After BreakerCoolDown, a command may try as well.
	// Default 5 and 1s. BreakerOff turns the breaker off.
	BreakerFailures int
	BreakerCoolDown time.Duration
	BreakerOff      bool

	// Deferred keeps the store from connecting before [Store.Start], or its first
	// command.
	Deferred bool

	// MaxValueSize is the largest record, in bytes of JSON text. Default
	// [cache.DefaultMaxValueSize].
	MaxValueSize int
	// KeyPrefix begins the keys that the store uses itself. The keys of records
	// have it already.
	KeyPrefix string
}

// TLS says how connections are encrypted. Files are PEM.
type TLS struct {
	// CA are files with certificates of authorities to trust instead of the
	// system's.
	CA []string
	// Cert and Key are files with the client's certificate and its key.
	Cert, Key string
	// ServerName is the name in the server's certificate. Default: the host that is
	// dialed.
	ServerName string
	// InsecureSkipVerify accepts any certificate. For tests only. Default false.
	InsecureSkipVerify bool
}

// String names the servers, without secrets.
func (o Options) String() string {
	return fmt.Sprintf("redis %s %q", o.ClientType, o.Addresses)
}

// GoString is String, so that %#v shows no secret.
func (o Options) GoString() string { return o.String() }

// db is the number of the database.
func (o *Options) db() int {
	if o.DB == nil {
		return 0
	}
	return *o.DB
}
