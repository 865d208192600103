// Package redis is the shared store: records in Redis (or Valkey) under plain
// string keys as plain JSON text, so that any client in any language shares
// them.
//
// # Where things are
//
//	options.go      what can be configured
//	resolve.go      options from what is set, the environment and a profile
//	url.go          what a Redis URL says
//	profiles.go     the values of the profiles
//	validate.go     which settings go together
//	fingerprint.go  equal options, equal stores
//	client.go       the go-redis clients, and how they dial
//	reader.go       reading from replicas
//	sentinel.go     which replicas the sentinels know
//	store.go        records, one and many
//	lease.go        leases: three scripts
//	leasekey.go     the key of a lease hashes to the slot of its record
//	scan.go         listing and deleting by prefix, over all masters
//	info.go         what the servers say of themselves
//	pool.go         connections
//	health.go       up or down, asked in the background
//	errors.go       what an error of Redis means to a caller
//	log.go          go-redis' own log
//
// # Reading
//
// A read is GETRANGE and PTTL in one round trip, not GET: a foreign value of
// 500 MB costs no more than one byte over the limit. The two are not atomic;
// a key that comes or goes in between shows as a combination that is either
// settled (no TTL: nothing there) or read again (a TTL but no text).
//
// # Writing
//
// Whatever ends a lease ends it before it touches the record, in the same
// pipeline to the same node. In the other order, a fill could slip in between
// and write what is older.
//
// # Clusters
//
// A shard is known by the lowest slot it serves, and its master is found by
// asking go-redis who serves a key of that slot. This needs nothing but
// go-redis' public API and follows a failover. A scan that meets another
// master than before begins the shard anew. When slots move between shards
// during a scan, a key in them may be missed; so may keys after a failover by
// sentinels, because no cursor is valid on another server.
//
// The clients of a cluster never have ReadOnly set: go-redis would send
// COMMAND before it can tell what is read-only, and waits for its answer for
// up to five seconds whatever the context says. Reads from replicas find
// their node by [reader] instead, which no write can reach.
//
// go-redis reloads the map of a cluster only when it is redirected, or by
// interval. So the interval is short and each failure asks for a reload:
// clients see a crashed master's successor within two seconds of its election.
//
// # Access control
//
// A user needs +get +set +getrange +pttl +pexpire +exists +unlink +eval
// +evalsha +scan +ping +info +hello (and +cluster|slots, +readonly in a
// cluster) on the keys of the prefix; leases are under the prefix as well.
package redis
