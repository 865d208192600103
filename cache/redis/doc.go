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
//	client.go       the go-redis clients
//	conn.go         every connection: handshake, identity, calm reconnecting
//	resp.go         the protocol, for connections that go-redis cannot drive
//	gate.go         turns for connections; breaker.go: the circuit breaker of a
//	                server; probe.go: closes it when the server answers again;
//	                localfailure.go: connections that this machine cannot make
//	reader.go       reading from replicas
//	sentinel.go     who the master is, and its replicas
//	store.go        records, one and many; add.go: without replacing any
//	gather.go       reads under load share round trips
//	raw.go          values of other formats, and hashes: one script
//	lease.go        leases: three scripts
//	halfmoved.go    and in slots that are half-way moved
//	leasekey.go     the key of a lease hashes to the slot of its record
//	tag.go          records that are dropped together
//	drops.go        and what of it loads that are under way must know
//	watch.go        trackers on all servers, and the trust they deserve together
//	tracker.go      one server that reports writes; session.go: one connection to
//	                it; canary.go: whether it does
//	scan.go         listing and deleting by prefix, over all masters; list.go:
//	                with what the keys hold
//	info.go         what the servers say of themselves
//	pool.go         numbers of connections
//	health.go       up or down, asked in the background
//	errors.go       what an error of Redis means to a caller; refused.go: what the
//	                server refuses is counted
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
// While a slot moves, Redis refuses scripts (TRYAGAIN) whose keys are not all on
// one master, and keys that do not exist yet are on none. Scripts that take, use
// and end leases then declare one key only; see halfmoved.go. A record that is
// still on the old master is not replaced before it has moved.
//
// # Sentinels
//
// All sentinels are asked who the master is, five times a second, and the one
// with the newest configuration is believed. When the master changes, the
// connections to the old one are dropped, near copies are not trusted before the
// new one is tracked, and for a second an absence is an error: the new master may
// not have had all writes.
//
// # Access control
//
// A user needs +get +set +getrange +pttl +pexpire +exists +unlink +eval
// +evalsha +scan +ping +info +hello +xadd +xrange +xrevrange (and
// +cluster|slots, +readonly in a cluster, +select with a database) on the keys of
// the prefix, and +hlen +hkeys +hstrlen +hgetall where values are hashes; the
// store's own keys (fwb:) are under the prefix as well. Near copies need
// +client|tracking.
//
// # Connections
//
// Each connection asks the server for its run ID. Where that is another one than
// before, the address leads to another server: connections to the old one are
// dropped. When a command fails because its connection is dead, all connections
// are dropped that are older than the failure and have shown no life since.
//
// A server that refuses connections (wrong password, too many clients) is asked
// by one connection at a time, with a pause of 1 to 1.6 seconds. Where it does not
// answer at all, the circuit breaker opens, and probes on new connections close it:
// the first after about 20 ms, then ever more rarely, at most one a second.
// Waiting for a connection of the pool is no failure of the server. Neither is it
// where this process has no file descriptor left for another connection: callers
// then wait for those there are.
//
// # Reports of writes
//
// A tracker is one connection to one server, in RESP3 and in BCAST mode, on which
// the server reports every write under the prefixes. A watcher keeps one on every
// server. Trust in near copies is a lease:
//
//   - Each 250 ms a tracker sends a check with a number. Its answer comes behind
//     all reports of writes that Redis acknowledged before the check was sent.
//   - Each 600 ms the address is dialled anew, to see that it leads to the same
//     server.
//   - Copies are served until one second after the last answered check, or the
//     last such look, was begun; each hit compares that with the clock.
//
// So near copies are at most one second out of date in every case: behind a
// connection that is dead or lags, in a process that was paused, behind an address
// that leads elsewhere. In health they are as long out of date as a report is
// under way: well under 10 ms. Copies go when a connection is lost, when the
// servers that are read change, and when a data connection reaches another server
// than the tracker.
//
// Before it is trusted, a tracker must hear of a canary, a key that is written
// through the connections that records are written through. A server that says
// that it will never do that (no RESP3, an unknown command, NOPERM, no run_id) is
// asked again after about 30 s, and one that did not report three canaries in a
// row, in the same role, within a second; until then copies of files live for two
// seconds, and there are none of sessions. A failover is no reason for that: what
// was found out before it counts no more. A server
// that refuses writes for now (OOM, MISCONF, NOREPLICAS, READONLY, BUSY) has
// nothing to report, and is trusted. The canary is read back with each check,
// because SWAPDB is not reported.
//
// A write through this store has dropped the copies of its own node when it
// returns. Redis sends the reports before it answers the write, so other nodes
// drop theirs within the time a report is under way, in health 10 ms; their next
// request after that sees the change.
//
// # What is not promised
//
//   - A replica is read as it is, behind by its lag. A failover to a replica that
//     lags loses writes, revocations among them; so does a server that restarts
//     with an older snapshot. Near copies are dropped in each case and agree with
//     what Redis has then.
//   - Between a failover and the first sentinel that says so, the old master is
//     read.
//   - A foreign DEL does not end the lease of a load that is under way, so that
//     load may fill what it read before.
//   - A proxy that joins several servers may lose reports without a sign once the
//     canary was heard.
//   - SWAPDB twice within a check's interval goes unnoticed. So does SWAPDB where
//     the process has started while Redis refused writes, until it accepts one.
//   - While a server answers BUSY it cannot say who it is. It is taken for the
//     same one.
package redis
