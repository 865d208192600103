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
//	store.go        records, one and many; add.go: without replacing any
//	gather.go       reads under load share round trips
//	raw.go          values of other formats, and hashes: one script
//	lease.go        leases: three scripts
//	leasekey.go     the key of a lease hashes to the slot of its record
//	tag.go          records that are dropped together
//	drops.go        and what of it loads that are under way must know
//	tracker.go      a connection on which a node tells of writes
//	watch.go        trackers on all nodes, and what they are worth together
//	scan.go         listing and deleting by prefix, over all masters; list.go:
//	                with what the keys hold
//	info.go         what the servers say of themselves
//	pool.go         connections
//	health.go       up or down, asked in the background
//	breaker.go      leaves a node alone that fails; mend.go asks it meanwhile
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
// +evalsha +scan +ping +info +hello +xadd +xrange +xrevrange (and
// +cluster|slots, +readonly in a cluster) on the keys of the prefix, and +hlen
// +hkeys +hstrlen +hgetall where values are hashes; the store's own keys (fwb:)
// are under the prefix as well.
// Trackers need +client|tracking +subscribe &filewallball:tracker.
//
// # Telling of writes
//
// A tracker is one connection to one node, in RESP3 and in BCAST mode, that
// hears of every write under the prefixes. A watcher keeps one on every node
// and trusts near copies while all those live that reads go to. It errs on
// the side of doubt: copies go when a connection is lost, when three pings in
// a row (250 ms apart) are not answered, when the nodes that are read change,
// and when a data connection is made to a node that nobody watches. So copies
// are at most about a second out of date, behind a connection that is silently
// dead, and otherwise as long as a push is under way: well under 10 ms.
//
// Before it is trusted, a tracker must hear of a canary, a key that the store
// writes. A server that refuses or does not tell (old ones, proxies, ACLs) is
// asked again every 30 s; until then copies live for two seconds, and there
// are none of what must be revocable.
//
// What is not promised: a replica is read as it is, behind by its lag, and a
// failover to a replica that lags loses writes; a foreign DEL does not end the
// lease of a load that is under way, so that load may fill what it was told
// before; proxies that join several servers may lose pushes without a sign
// once the canary was seen.
package redis
