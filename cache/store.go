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

// Entry is a record with the time it expires. An entry without a record says
// that the store has nothing under the key.
type Entry struct {
	Record *Record
	// Old is what is stored but does not count any more, because one of its
	// tags was dropped. Record is nil then. [Store.Fill] takes it as what the
	// load began from.
	Old *Record
	// Expires is in nanoseconds of Unix time; 0 is never, which only a
	// record written by a foreign client can have.
	Expires int64
	// Versions are those of the record's tags: a copy of the record counts as
	// long as none of them has ended.
	Versions []*near.Version
}

// NoExpiry is the TTL of an entry that never expires.
const NoExpiry time.Duration = -1

// stored is the record that the store has, whether it counts or not.
func (e Entry) stored() *Record {
	if e.Record != nil {
		return e.Record
	}
	return e.Old
}

// TTL is how long the entry lives from now on, never negative but for
// [NoExpiry].
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

// OwnPrefix, after the configured prefix of all keys, is that of keys which
// are no records of anybody: leases, tags, and what is written to try a store.
const OwnPrefix = "fwb:"

// Got is the answer for one key of a batch.
type Got struct {
	Entry
	Err error // wraps [ErrInvalidRecord]
}

// Listed is what is stored under a key, among others.
type Listed struct {
	Key string
	Got
}

// EndedFor is how long [Store].Reacquire reports how a load ended.
const EndedFor = 2 * time.Second

// Ended says how a load ended without filling its key.
type Ended struct {
	// Failure is why it failed, at most [MaxFailure] bytes. "" says that it did
	// not: what the source answered may not be stored.
	Failure string
}

// MaxFailure is the longest [Ended].Failure, in bytes.
const MaxFailure = 256

// Store keeps records under keys, for one process or for a fleet. All methods
// may be called at once from any goroutine. What fails because the store is
// out of reach wraps [ErrUnavailable]; contexts bound each call.
//
// A lease is the right to fill one key. At most one holds per key at a time;
// it ends when it is used, released, expires, or when the key is deleted.
// (Nishtala et al., Scaling Memcache at Facebook, NSDI 2013, section 3.2.1.)
type Store interface {
	// Name is "redis" or "memory".
	Name() string

	// Get reads a record and its TTL. A value that is no record gives an
	// error that wraps [ErrInvalidRecord].
	Get(ctx context.Context, key string) (Entry, error)
	// GetMany reads many keys in as few round trips as it takes; the answer
	// is in the order of the keys.
	GetMany(ctx context.Context, keys []string) ([]Got, error)
	// Set writes a record, whatever is there. A TTL under 1ms is an error, a
	// record over the store's limit one that wraps [ErrInvalidRecord].
	// It ends the key's lease: what is loading is older than what was set.
	Set(ctx context.Context, key string, record *Record, ttl time.Duration) error
	// SetMany is Set for many records in as few round trips as it takes.
	SetMany(ctx context.Context, items []Item) error
	// AddMany writes the records whose keys have neither a record nor a lease:
	// what is stored or being loaded is newer than what is added. It returns how
	// many it wrote. Where it fails, some may be written.
	// TTLs and records are bound as in Set.
	AddMany(ctx context.Context, items []Item) (added int, err error)
	// Touch sets the TTL of a key that is there, and reports whether it was.
	// The tags of record, which is what the caller found there, live on with it.
	// The TTL is bound as in Set.
	Touch(ctx context.Context, key string, record *Record, ttl time.Duration) (bool, error)
	// Delete drops keys and their leases, and returns how many records it dropped.
	Delete(ctx context.Context, keys ...string) (int, error)
	// DeletePrefix drops every key with the prefix, and the leases of such
	// keys, and returns how many records it dropped. An empty prefix is an error.
	DeletePrefix(ctx context.Context, prefix string) (int, error)
	// Scan lists keys with the prefix, without leases, from a cursor that an earlier call
	// returned ("" to begin). It answers about limit keys, maybe fewer or
	// none, and an empty cursor at the end. Keys that are there all the
	// while are listed at least once.
	Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error)
	// Records lists what is stored under keys with the prefix, in no order,
	// and ends with an error where it cannot go on; what is there and is no
	// record has an error of its own. What is there all the while is listed at
	// least once. It takes no more memory than a few dozen records.
	Records(ctx context.Context, prefix string) iter.Seq2[Listed, error]

	// Acquire takes the lease of a key for at most ttl, if the store has
	// nothing newer than what the caller saw: it still has old, or nothing
	// (old may have expired meanwhile). Otherwise it answers what the store
	// has now. Where a tag of what the store has was dropped, the lease is
	// taken all the same, and now.Old is what Fill must be given for old. Both
	// the token and the entry's records are empty where another load holds the
	// lease. Records are the same if their texts are. tagged is for loads whose
	// records may bear tags.
	//
	// With a token, the entry has no record, but the time at which old expires
	// where the store still has it. A token beside an error may hold the lease:
	// the request may be carried out later than its context allowed.
	Acquire(ctx context.Context, key string, old *Record, ttl time.Duration, tagged bool) (token string, now Entry, err error)
	// Reacquire is Acquire for a caller that was refused the lease and has
	// waited since. Where the load that it waited for ended without filling
	// the key, it answers how, for as long as [EndedFor] afterwards.
	Reacquire(ctx context.Context, key string, old *Record, ttl time.Duration, tagged bool) (token string, now Entry, ended *Ended, err error)
	// Fill writes a record if the lease still holds the token and the store
	// has nothing newer than what the load began from: it has old, or
	// nothing. So it never overwrites what another client wrote meanwhile.
	// The record bears the tags from then on. Where one of them was dropped
	// since the lease was taken, or that cannot be told, nothing is written:
	// the record may be of the time before. A token without tagged fills no
	// record with tags.
	// Fill ends the token's lease and reports whether it wrote. The TTL is
	// bound as in Set.
	Fill(ctx context.Context, key, token string, old, record *Record, tags []string, ttl time.Duration) (bool, error)
	// Release ends a lease that was not used, if it still holds the token:
	// a load that waits may take it.
	Release(ctx context.Context, key, token string) error
	// Abandon is Release after a load that filled nothing, and reports to those
	// that wait how it ended. The next Acquire takes the lease as if it were free.
	Abandon(ctx context.Context, key, token string, ended Ended) error

	// DropTag drops every record that bears the tag, in a time that does not
	// depend on how many there are. Once it has returned nil, no read that
	// begins afterwards finds such a record, and no load that began before
	// fills one. An empty tag is an error. What is dropped may still be listed
	// by Scan until it expires.
	DropTag(ctx context.Context, tag string) error
	// AdoptTags makes the tags of records that were stored elsewhere known
	// here, for at least ttl, with the versions that the records have. A tag
	// that has another version here keeps it: it was dropped since, and so are
	// its records. The answer is in the order of the records, and reports which
	// of them count.
	AdoptTags(ctx context.Context, records []*Record, ttl time.Duration) ([]bool, error)

	// Ping asks the store for an answer; its error says why there was none.
	Ping(ctx context.Context) error
	// Info describes the server behind the store.
	Info(ctx context.Context) (ServerInfo, error)
	// Pool describes the connection pool; nil where there is none.
	Pool() *PoolStats
	// Close ends what the store has started. Calls after it give [ErrClosed].
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
	Size     int    `json:"size"`
	Total    uint32 `json:"total"`
	Idle     uint32 `json:"idle"`
	InUse    uint32 `json:"in_use"`
	Hits     uint32 `json:"hits"`
	Misses   uint32 `json:"misses"`
	Timeouts uint32 `json:"timeouts"`
	Waits    uint32 `json:"waits"`
	// WaitSeconds is the time callers have waited for a connection, in all.
	WaitSeconds float64 `json:"wait_seconds"`
	// Breaker is closed, open or half-open.
	Breaker string `json:"breaker"`
}
