// Package redis is the shared store: records in Redis (or Valkey) under plain
// string keys as plain JSON text, so that any client in any language shares
// them.
//
// # Files
//
//	options.go      what can be configured
//	resolve.go      options from settings, the environment and a profile
//	url.go          reading a Redis URL
//	profiles.go     the values of the profiles
//	validate.go     which settings conflict
//	fingerprint.go  which options make equal stores
//	client.go       the go-redis clients
//	connector.go    making connections: run ID, pauses after refusals
//	handshake.go    the first commands of a connection
//	conn.go         a connection, as go-redis uses it
//	resp.go         the protocol, for connections that go-redis cannot drive
//	gate.go         turns for connections
//	breaker.go      the circuit breaker of a server
//	probe.go        closing it when the server answers again
//	localfailure.go connections that this process cannot make
//	noanswer.go     commands whose time ended without an answer
//	reader.go       reading from replicas
//	sentinel.go     the master and its replicas
//	store.go        a store: its parts, its beginning and its end
//	read.go         reading records
//	write.go        writing, extending and deleting records
//	add.go          adding records without replacing any
//	gather.go       calls that share round trips
//	script.go       scripts in pipelines
//	raw.go          reading values of other formats, and hashes
//	lease.go        leases: three scripts, and reading with one of them
//	filltagged.go   filling records that bear tags
//	halfmoved.go    leases in slots that are being moved
//	leasemany.go    leases of many keys in one script, to warm files
//	leasekey.go     the keys of leases, in the slots of their records
//	tag.go          dropping records by tag
//	drops.go        drops of tags during loads
//	nodes.go        the servers of the store, and their addresses
//	watch.go        trackers on all servers, and when near copies are trusted
//	tracker.go      reports of writes by one server
//	session.go      one connection of a tracker
//	push.go         decoding its reports; pace.go: how often they are read
//	canary.go       testing that writes are reported
//	scan.go         listing and deleting by prefix, over all masters
//	list.go         listing records
//	info.go         what the servers report about themselves
//	pool.go         numbers of connections
//	health.go       up or down, asked in the background
//	errors.go       what an error of Redis means to a caller
//	refused.go      counting and logging round trips that fail
//	trace.go        spans of round trips
//
// # Reading
//
// A read is GETRANGE and PTTL in one round trip, not GET: of a foreign value of
// 500 MB it reads one byte more than the limit. The two commands are not atomic.
// If a key is written or deleted in between, there is either no TTL, which means
// that the key does not exist, or a TTL without a text, and the key is read again.
//
// A lookup that may load the record reads it by the script that takes the lease if
// there is none: one round trip to the primary. A server that refuses the script
// (it is full, read-only, or the user may run none) is asked again by GETRANGE and
// PTTL, so what it has is still found.
//
// Calls that are ready at the same moment share a round trip. At most four round
// trips of reads and four of loads are under way to a server, and no more than half
// and a quarter of its connections.
//
// # Writing
//
// A write ends the lease of a key before it changes the record, in the same
// pipeline to the same node. In the other order, a fill could come in between and
// write an older record.
//
// # Clusters
//
// A shard is identified by the lowest slot it serves. go-redis reports which
// server has a key of that slot, which needs only its public API and follows a
// failover. A scan that finds another master than before starts the shard again.
// When slots move between shards during a scan, a key in them may be missed. The
// same is true after a failover by sentinels, because a cursor is not valid on
// another server.
//
// The clients of a cluster never have ReadOnly set: go-redis would send
// COMMAND first, to learn which commands are read-only, and wait for its answer
// for up to five seconds whatever the context says. Reads from replicas use
// [reader] instead, which has no writes.
//
// go-redis reloads the map of a cluster only when it is redirected, or at an
// interval. So the interval is short and each failure causes a reload: clients
// find the successor of a crashed master within two seconds of its election.
//
// While a slot is being moved, Redis refuses scripts (TRYAGAIN) whose keys are not
// all on one master, and a key that does not exist yet is on neither. Scripts that
// take, use and end leases then declare one key only; see halfmoved.go. A record
// that is still on the old master is not replaced before it has been moved.
//
// # Sentinels
//
// All sentinels are asked for the master five times a second, and the answer with
// the newest configuration is used. When the master changes, the connections to
// the old one are dropped, near copies are not trusted before the new one is
// tracked, and for a second an absence is an error: the new master may not have
// all writes.
//
// # Access control
//
// A user needs +get +set +getrange +pttl +pexpire +exists +unlink +eval
// +evalsha +scan +ping +info +hello +xadd +xrange +xrevrange (and
// +cluster|slots, +readonly in a cluster, +select with a database) on the keys of
// the prefix, and +hlen +hkeys +hstrlen +hgetall where values are hashes; the
// store's own keys (fwb:) are under the prefix as well. Near copies need
// +client|tracking, names of connections +client|setname.
//
// # Connections
//
// Each connection asks the server for its run ID. If that has changed, the address
// leads to another server, and the connections to the old one are dropped. When a
// command fails because its connection is dead, all connections are dropped that
// were made before the failure and have received nothing since.
//
// A server that refuses connections (wrong password, too many clients) is tried by
// one connection at a time, with a pause of 1 to 1.6 seconds. If a server does not
// answer at all, its circuit breaker opens, and probes on new connections close
// it: the first after about 20 ms, then at growing intervals, at most one second.
// A caller that gets no connection from the pool does not count as a failure of the
// server. Neither does a connection for which this process has no file descriptor
// left: callers then wait for one of the existing connections.
//
// # Reports of writes
//
// A tracker is one connection to one server, in RESP3 and in BCAST mode, on which
// the server reports every write under the prefixes. A watcher keeps one on every
// server. Near copies are trusted until a deadline, which is renewed:
//
//   - Every 250 ms a tracker sends a check with a number. Its answer follows all
//     reports of writes that Redis acknowledged before the check was sent.
//   - Every 600 ms the tracker dials the address again, to see that it leads to
//     the same server.
//   - Copies are served until one second after the last answered check, or the
//     last answered dial, was begun. Each hit compares that with the clock.
//
// So near copies are at most one second out of date in every case: behind a
// connection that is dead or lags, in a process that was paused, behind an address
// that leads to another server. Normally they are out of date only while a report
// is on its way: well under 10 ms. A server that sends more than 2 000 reports a
// second is read every 0.5 to 1 ms. Copies are dropped when a connection is lost,
// when the servers that are read change, and when a data connection reaches
// another server than the tracker.
//
// A tracker is trusted only after it has received the report of a canary, a key
// that is written through the connections that records are written through. A
// server that will never report writes (no RESP3, an unknown command, NOPERM, no
// run_id) is tried again after about 30 s, and one that did not report three
// canaries in a row, in the same role, within a second. Until then copies of files
// live for two seconds, and there are none of sessions. Canaries from before a
// failover do not count. A server that refuses writes for now (OOM, MISCONF,
// NOREPLICAS, READONLY, BUSY) has nothing to report, and is trusted. The canary is
// read back with each check, because SWAPDB is not reported, and each look at the
// address asks how often SWAPDB was called.
//
// When a write through this store returns, the copies of its own node have been
// dropped. Redis sends the reports before it answers the write, so other nodes
// drop their copies as soon as the report arrives, normally within 10 ms.
//
// # What is not promised
//
//   - A replica is behind its master by its lag. A failover to a replica that lags
//     loses writes, including revocations; so does a server that restarts with an
//     older snapshot. Near copies are dropped in each case and then agree with
//     what Redis has.
//   - Between a failover and the first sentinel that reports it, the old master is
//     read.
//   - A DEL by another client does not end the lease of a load under way, so that
//     load may fill what it read before the DEL.
//   - A proxy in front of several servers may lose reports unnoticed, after the
//     canary was reported.
//   - SWAPDB twice within the interval of checks is not noticed if the server does
//     not report in INFO commandstats how often it was called.
//   - A server that answers BUSY cannot report its run ID. It is taken to be the
//     same server.
package redis
