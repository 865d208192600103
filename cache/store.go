package cache

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

var (
	// ErrUnavailable says that the store could not be reached, or did not
	// answer in time.
	ErrUnavailable = errors.New("store unavailable")
	// ErrClosed says that the cache was used after its Close.
	ErrClosed = errors.New("cache closed")
)

// Entry is a record with the time at which it expires. Without a record, the
// store has nothing under the key.
type Entry struct {
	Record *Record
	// Old is a stored record that is invalid because one of its tags was dropped;
	// Record is nil then. It is what [Store.Fill] takes as old.
	Old *Record
	// Expires is in nanoseconds of Unix time. 0 means never, which only a record
	// written by another client can have.
	Expires int64
	// Versions are the versions of the record's tags. A near copy of the record is
	// valid as long as all of them are current.
	Versions []*near.Version
}

// NoExpiry is the TTL of an entry that never expires.
const NoExpiry time.Duration = -1

// stored is the record that the store has, whether or not it is valid.
func (e Entry) stored() *Record {
	if e.Record != nil {
		return e.Record
	}
	return e.Old
}

// TTL is the remaining TTL. It is never negative but for [NoExpiry].
func (e Entry) TTL(now time.Time) time.Duration {
	if e.Expires == 0 {
		return NoExpiry
	}
	return max(0, time.Duration(e.Expires-now.UnixNano()))
}

// Item is a record to be written.
type Item struct {
	Key    string
	Record *Record
	TTL    time.Duration
}

// OwnPrefix follows the configured key prefix in the keys that the plugin uses
// itself: leases, tags and canaries. They are not records.
const OwnPrefix = "fwb:"

// Got is the result for one key of a batch.
type Got struct {
	Entry
	Err error // wraps [ErrInvalidRecord] or [ErrUnavailable]
}

// Listed is one key of a listing, with what is stored under it.
type Listed struct {
	Key string
	Got
}

// EndedFor is how long [Store].Reacquire reports how a load ended.
const EndedFor = 2 * time.Second

// Ended says how a load ended that did not fill its key.
type Ended struct {
	// Failure is the error of the load, at most [MaxFailure] bytes. "" means that
	// it did not fail, but that its answer may not be stored.
	Failure string
}

// MaxFailure is the longest [Ended].Failure, in bytes.
const MaxFailure = 256

// Store keeps records under keys, for one process or for a fleet. All methods
// may be called concurrently. Errors because the store is unreachable wrap
// [ErrUnavailable]; the context limits each call.
//
// A lease is the right to fill one key. At most one holds per key at a time;
// it ends when it is used, released, expires, or when the key is deleted.
// (Nishtala et al., Scaling Memcache at Facebook, NSDI 2013, section 3.2.1.)
type Store interface {
	// Name is "redis" or "memory".
	Name() string

	// Get reads a record and its TTL. For a value that is not a record, the error
	// wraps [ErrInvalidRecord].
	Get(ctx context.Context, key string) (Entry, error)
	// GetMany reads many keys in as few round trips as it can. The results are in
	// the order of the keys.
	GetMany(ctx context.Context, keys []string) ([]Got, error)
	// Set writes a record, over any other value. A TTL under 1ms is an error; for a
	// record over the store's limit, the error wraps [ErrInvalidRecord]. Set ends
	// the key's lease: what a load under way finds is older than what was set.
	Set(ctx context.Context, key string, record *Record, ttl time.Duration) error
	// SetMany is Set for many records in as few round trips as it can.
	SetMany(ctx context.Context, items []Item) error
	// AddMany writes the records whose keys have neither a record nor a lease, and
	// returns how many it wrote: what is stored or being loaded is newer. After an
	// error, some may have been written. TTLs and records have the limits of Set.
	AddMany(ctx context.Context, items []Item) (added int, err error)
	// Touch sets the TTL of an existing key and reports whether the key exists. The
	// tags of record, which the caller found there, get the same TTL. The TTL has
	// the limits of Set.
	Touch(ctx context.Context, key string, record *Record, ttl time.Duration) (bool, error)
	// Delete drops keys and their leases, and returns how many records it dropped.
	Delete(ctx context.Context, keys ...string) (int, error)
	// DeletePrefix drops every key with the prefix, and the leases of such
	// keys, and returns how many records it dropped. An empty prefix is an error.
	DeletePrefix(ctx context.Context, prefix string) (int, error)
	// Scan lists the keys with the prefix, without leases. It starts at a cursor
	// that an earlier call returned, or "". It returns about limit keys, sometimes
	// fewer or none, and the next cursor, which is empty at the end. Keys that
	// exist during the whole listing are listed at least once.
	Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error)
	// Records lists what is stored under the keys with the prefix, in no order. It
	// ends with an error where it cannot go on; a value that is not a record has an
	// error of its own. What is stored during the whole listing is listed at least
	// once. It uses no more memory than a few dozen records.
	Records(ctx context.Context, prefix string) iter.Seq2[Listed, error]

	// GetOrAcquire is Get for a lookup that will load the record if there is none. It
	// then takes the lease of the key for at most ttl, as Acquire does, in the same
	// round trip where the store can. If another load holds the lease, the token and
	// the records of now are empty. If a tag of the stored record was dropped, it
	// takes the lease and returns the stored record as now.Old. Where the store
	// refuses leases but answers reads, a stored record is still returned without an
	// error. A token returned with an error may hold the lease.
	GetOrAcquire(ctx context.Context, key string, ttl time.Duration, tagged bool) (token string, now Entry, err error)
	// Acquire takes the lease of a key for at most ttl, if the store has nothing
	// newer than what the caller read: it still has old, or nothing (old may have
	// expired meanwhile). Otherwise it returns what the store has now. If a tag of
	// the stored record was dropped, it takes the lease all the same and returns
	// the stored record as now.Old, which Fill must then be given as old. If
	// another load holds the lease, the token and the records of now are empty. Two
	// records are equal if their texts are. tagged must be true for loads whose
	// records may bear tags.
	//
	// With a token, now has no record, but Expires is when old expires, where the
	// store still has it. A token returned with an error may hold the lease: the
	// request may be carried out after ctx has ended.
	Acquire(ctx context.Context, key string, old *Record, ttl time.Duration, tagged bool) (token string, now Entry, err error)
	// Reacquire is Acquire for a caller that did not get the lease and has waited
	// since. If the load that it waited for ended without filling the key,
	// Reacquire returns how, for [EndedFor] afterwards.
	Reacquire(ctx context.Context, key string, old *Record, ttl time.Duration, tagged bool) (token string, now Entry, ended *Ended, err error)
	// Fill writes a record if the token still holds the lease and the store has
	// nothing newer than what the load began from: it has old, or nothing. So a
	// fill never overwrites a later write by another client. The record bears the
	// tags. If one of the tags was dropped since the lease was taken, or if the
	// store cannot say so for certain, nothing is written, because the record may
	// be older than the drop. A token that was taken without tagged fills no record
	// with tags. Fill ends the lease and reports whether it wrote. The TTL has the
	// limits of Set.
	Fill(ctx context.Context, key, token string, old, record *Record, tags []string, ttl time.Duration) (bool, error)
	// Release ends a lease that was not used, if the token still holds it. A
	// waiting load may then take it.
	Release(ctx context.Context, key, token string) error
	// Abandon is Release for a load that filled nothing. It reports to waiting
	// loads how the load ended. The next Acquire takes the lease as if it were
	// free.
	Abandon(ctx context.Context, key, token string, ended Ended) error

	// DropTag drops every record that bears the tag. The time that it takes does
	// not depend on their number. Once it has returned nil, no read that begins
	// later finds such a record, and no load that began earlier fills one. An empty
	// tag is an error. Scan may still list the dropped keys until they expire.
	DropTag(ctx context.Context, tag string) error
	// AdoptTags adds the tags of records from another store, with the versions that
	// the records have, for at least ttl. A tag that already has another version
	// here keeps it: the tag was dropped since, so its records are invalid. The
	// results are in the order of the records and report whether each is valid.
	AdoptTags(ctx context.Context, records []*Record, ttl time.Duration) ([]bool, error)

	// Ping returns nil if the store answers.
	Ping(ctx context.Context) error
	// Info describes the server behind the store.
	Info(ctx context.Context) (ServerInfo, error)
	// Pool describes the connection pool; it is nil for a store without one.
	Pool() *PoolStats
	// Close ends the store's goroutines and connections. Later calls return
	// [ErrClosed].
	Close() error
}

// Peeker is a [Store] that reads without I/O, so that a hit needs neither a
// deadline nor a goroutine.
type Peeker interface {
	// Peek is Get without a context, by a clock that was read already.
	Peek(key string, now time.Time) (Entry, bool)
}

// ServerInfo describes the server behind a store, as its INFO does. Sizes are
// in bytes. In a cluster the numbers are sums over the masters.
type ServerInfo struct {
	Version           string  `json:"version"`
	Mode              string  `json:"mode"`
	Role              string  `json:"role,omitempty"`
	UptimeSeconds     int64   `json:"uptime_seconds"`
	UsedMemory        int64   `json:"used_memory"`
	UsedMemoryHuman   string  `json:"used_memory_human"`
	UsedMemoryPeak    int64   `json:"used_memory_peak"`
	MaxMemory         int64   `json:"maxmemory"`
	MaxMemoryPolicy   string  `json:"maxmemory_policy,omitempty"`
	MemoryUsedPercent float64 `json:"memory_used_percent"`
	ConnectedClients  int64   `json:"connected_clients"`
	Keys              int64   `json:"keys"`
	KeyspaceHits      int64   `json:"keyspace_hits"`
	KeyspaceMisses    int64   `json:"keyspace_misses"`
	ExpiredKeys       int64   `json:"expired_keys"`
	EvictedKeys       int64   `json:"evicted_keys"`
	CommandsProcessed int64   `json:"commands_processed"`
	OpsPerSecond      int64   `json:"ops_per_second"`
	ConnectedReplicas int64   `json:"connected_replicas"`
	ClusterMasters    int     `json:"cluster_masters,omitempty"`
}

// PoolStats describes a connection pool: connections now, and counters since
// it was made.
type PoolStats struct {
	// Size is the configured size, per server. Total is the number of connections
	// now, of which Idle are free and InUse are not.
	Size  int    `json:"size"`
	Total uint32 `json:"total"`
	Idle  uint32 `json:"idle"`
	InUse uint32 `json:"in_use"`
	// Hits counts callers that found a free connection, Misses those that did not.
	Hits   uint32 `json:"hits"`
	Misses uint32 `json:"misses"`
	// Waits counts callers that waited for a connection, Timeouts those that waited
	// too long.
	Timeouts uint32 `json:"timeouts"`
	Waits    uint32 `json:"waits"`
	// WaitSeconds is the total time for which callers waited.
	WaitSeconds float64 `json:"wait_seconds"`
	// Breaker is closed, open or half-open.
	Breaker string `json:"breaker"`
}
