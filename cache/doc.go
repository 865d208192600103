// Package cache looks up records, which are JSON objects under plain string
// keys: first in the memory of this process, then in a store that a fleet may
// share, and at last in a source. It depends on no web server.
//
// # Files
//
//   - cache.go: a lookup, up to a miss; lead.go: taking the lease with the first
//     read. After a miss: load.go (asking the source), lease.go (one load in the
//     fleet), flight.go (one load in this process), limit.go (how many loads at a
//     time), waits.go (waking waiting loads), giveback.go (leases that may have
//     been granted although no answer came), fill.go (storing the answer) and
//     budget.go (time limits).
//   - batch.go: reading and writing records without a lookup; replace.go:
//     writing a record only over a known one; warm.go: loading in advance;
//     warmmany.go: many at a time.
//   - record.go: what a record is; block.go: how it lies in memory; paths.go:
//     reading several fields of many records; reserved.go: its reserved fields;
//     validjson.go: checking its text; decoder.go: values in other formats;
//     expiry.go and ttl.go: how long it is valid; tag.go: dropping many records
//     together; family.go: keys and identities.
//   - store.go and source.go: the interfaces that a lookup needs. The stores are
//     in the packages memory and redis. Package cachetest is the suite that
//     tests each store against what store.go promises.
//   - near/: near copies of shared records; copies.go: how lookups use them;
//     refresh.go: loading a record again before it expires.
//   - clock/: how much time has passed, whatever becomes of the wall clock.
//   - invalidate.go: dropping records; pending.go: what the store did not drop;
//     pendingretry.go: retrying that.
//   - options.go: the options of a [Lookup].
//   - stats.go and counters.go: what is counted for lookups and sources; window.go:
//     the counts of the last minutes; durations.go and histogram.go: durations;
//     storeerrors.go, filesystem.go and uploads.go: further counters; sourcelog.go:
//     logging sources that fail.
//
// A [Cache] owns its store and outlives the lookups over it. [Stats] outlive
// the cache.
//
// # The steps of a lookup
//
// [Lookup.Find] goes on to the next step only if a step has no answer.
//
//  1. It reads the store without I/O, if that is a [Peeker], or the near copies
//     of a [Watched] store. A hit ends here, without a lock, an allocation, a
//     context or a goroutine. In the last tenth of the record's TTL, a hit
//     starts a refresh in the background.
//  2. It reads the record and its remaining TTL from the store, in one round
//     trip. If a miss will lead to a load of its own, the same round trip takes the
//     key's lease (step 6). That is so unless another load of the key runs in this
//     process (step 4) or the load would have to wait (step 5). The record is used
//     if its own expires_at has not passed (where the lookup has ExpiresAt) and the
//     source confirms it (where the source is a [Revalidator]). A record that is
//     not used is passed along as "old". A ticket, drawn before the read, admits a
//     near copy only if the key was not written meanwhile.
//  3. Without a source, the record is absent.
//  4. In this process, one load runs per key and source; the others join it.
//     It runs in a goroutine of its own. It ends when the last lookup that
//     waits for it is ended, and not before.
//  5. The load waits until fewer than MaxConcurrent are under way. It holds no
//     lease meanwhile.
//  6. In the fleet, the load takes the key's lease, unless it has it already. A
//     load that does not get the lease waits until the key is filled or the other
//     load has ended. A [Watched] store reports that; any other store is read every
//     5ms to 100ms. The load then uses what was filled, or fails as the other load
//     did. If the answer of the other load was not stored, or the other load does
//     not end within LoadTimeout, the load asks the source itself and stores
//     nothing.
//  7. The load with the lease asks the source and fills the key, for TTL or
//     NegativeTTL, 5 % more or less, but never beyond the record's expires_at or
//     the source's MaxTTL. An answer that is not stored (NegativeTTL 0, NoStore)
//     drops a stored record that it contradicts.
//
// The round trips before the source is asked share one budget, LookupTimeout. A
// store that fails or is too slow is not asked again in that lookup: the source
// is asked and nothing is stored. Where the source fails too, or there is none,
// a record that has expired within StaleIfError is used; without one the lookup
// is an error. A stored value that is not a record is always an error. A round
// trip does not end with the request that began it: a connection that is
// abandoned while it waits for an answer has to be closed.
//
// # What loads promise
//
//   - No lookup takes longer than LoadTimeout and LookupTimeout together,
//     in all failures (TestNoLookupTakesLongerThanSourceAndStoreMay).
//   - Lookups of one key that wait at the same time, on any nodes, share one
//     load, however long it takes and however far the nodes are from the store
//     (TestMissesBehindASlowSourceAreOneLoad), and share its failure
//     (TestWaitersShareAFailure). Where the answer may not be stored, each
//     node then asks once, all at the same time
//     (TestWaitersForAnAnswerThatIsNotStoredLoadAtOnce).
//   - Waiting takes few round trips (TestWaitingForALoadIsNotPolling). Waiting
//     lookups are woken when the load ends or when an invalidation overtakes it
//     (TestAnInvalidationWakesTheWaitersForTheLoad).
//   - Filling and releasing have their own timeout, whatever the lookup has
//     spent (TestAFarNodeFillsAndReleases). A lease that the store may have
//     granted, although its answer did not reach this process, is given back
//     (TestALeaseThatCameTooLateIsGivenBack).
//   - A load ends with its last waiter and leaves nothing behind
//     (TestALoadEndsWithItsLastWaiter, TestClientsThatLeaveLeaveNothingBehind).
//   - No more than MaxConcurrent loads of a lookup are under way
//     (TestNoMoreLoadsThanAllowedAreUnderWay). A lookup with very many waiting
//     loads fails at once with [ErrOverloaded]
//     (TestALookupWithTooManyWaitingLoadsIsOverloaded). Each lookup has its own
//     limit (TestALookupIsNotDelayedByTheLoadsOfAnother). A load that waits for
//     others takes no lease (TestALoadThatWaitsForOthersHoldsNoLease). Loads never
//     use all of the store's connections (TestMissesDoNotStarveOthers), and neither
//     do reads, in clusters and from replicas too
//     (TestReadsNeverTakeAllConnections).
//   - A load of a record that is nowhere takes two calls of the store, whatever the
//     source answers (TestANewRecordIsReadAndLeasedAtOnce), and two round trips to
//     Redis, with tags too (TestANewSessionTakesTwoRoundTrips).
//   - A refresh that fails is repeated after a pause that grows from a second to
//     a minute (TestARefreshThatFailsIsNotRepeatedAtEveryHit). A record that
//     another node has refreshed is not refreshed again
//     (TestARecordThatWasRefreshedElsewhereIsNotRefreshedAgain). A record that
//     was stored for less than the lookup's TTL has that time in the reserved
//     field "_ttl", in milliseconds, and is refreshed in the last tenth of it
//     (TestACappedRecordIsRefreshedInItsOwnLastTenth,
//     TestAShortLivedAnswerLeavesTheRefreshOfOthersOn).
//   - The source is asked before an expired record is used
//     (TestTheSourceIsAskedBeforeAStaleRecordIsUsed). Later answers of the store
//     or the source correct the expired records
//     (TestARefusalCorrectsWhatIsKeptForStaleUse,
//     TestAnswersOfRedisAndTheSourceReplaceStaleRecords).
//
// # Which lookups use a record
//
// The answer of a source is stored with the reserved field "_source", which is
// the [LookupOptions.SourceID] of the lookup that asked. A lookup uses a record
// without that field, which an application wrote, or with its own SourceID. It
// treats any other record as absent, in the store, in near copies and in stale
// ones: it does not use it or wait for it, does not pass it to its source, and
// replaces it by its own answer. No lookup uses a record whose "_source" cannot
// be read or that has two different ones.
//
// Field names that begin with "_" are reserved at the top level of records:
// such fields of a source's answer are dropped, and [Record.Field] finds none.
//
// # What near copies promise
//
//   - On one node, lookups never return an older record after a newer one.
//   - After a write through a [Cache] has returned, every later lookup on that
//     node returns that write or a newer one.
//   - On all nodes, a write by any client takes effect as soon as the store has
//     reported it: within 10ms while its connections work, within a second if
//     one is silently dead. See package redis for how this works, and for what
//     it cannot cover: the lag of replicas, failovers that lose writes, and
//     proxies.
//   - A Strict lookup uses a near copy only while the store reports changes of
//     its key.
//
// Near copies take no more memory than the near cache's MaxSize. Apart from it,
// a million random identities add less than 32 MiB to a process
// (TestRandomIdentities…).
//
// # What tags promise
//
// A record that a source filled may bear tags. It has the version of each in the
// reserved field "_tags" and is valid only while all of them are current. So
// [Cache.DropTag] is one write for any number of records. When it has
// returned nil:
//
//   - No lookup that begins after it on this node gets a record with the tag, and
//     none on another node once the store has reported the write.
//   - No load that began before it fills a record with the tag, on any node. The
//     store keeps a short list of drops. A fill checks its tags against the drops
//     since the load began; if the list does not reach back that far, nothing is
//     filled.
//   - A tag whose version the store has evicted has dropped its records.
//
// The text of a dropped record stays in the store until it expires or is
// replaced: [Store.Scan] lists its key, and other clients of the store that
// ignore "_tags" still read it. Records that an application writes have no tags.
//
// # What happens when an invalidation fails
//
// An invalidation that the store did not carry out (it is unreachable, too slow
// or full) returns a [PendingError]. From then on this process uses none of the
// records that it concerns: lookups with a source ask the source, others end in
// [ErrPending]. The invalidation is retried until it is done, also by the caches
// that share its [Pending]. Others that keep failing do not delay it
// (TestInvalidationsThatFailDoNotKeepOthersFromBeingCarriedOut). Other processes use
// the records until then. Pending
// invalidations are lost when the process ends.
//
// # What leases promise
//
// A lease is the right to fill one key, held by at most one load at a time
// (Nishtala et al., Scaling Memcache at Facebook, NSDI 2013, section 3.2.1).
// [Store.Delete], [Store.DeletePrefix] and [Store.Set] end the leases of the
// keys they change. So:
//
//   - When [Cache.Delete] has returned, no load that began before it fills its
//     key, and no lookup that begins after it gets the answer of such a load, on
//     any node: in this process later lookups do not join it, and in another
//     process the store refuses the fill.
//   - A record that was set, by [Cache.Set] or by another client, is not
//     overwritten by a load that began without it: a fill needs the store to
//     have what the load began from, or nothing.
//   - A load that dies with its node delays others no longer than LoadTimeout
//     and half of LookupTimeout
//     (TestNoLookupTakesLongerThanSourceAndStoreMay).
//
// Leases do not promise this:
//
//   - A DEL by another client ends no lease: a load under way may fill the key
//     with what it read before the DEL. Applications that delete keys which may
//     be loading should delete them through [Cache.Delete], or write the new
//     record instead.
//   - A lookup that began a load before an invalidation still gets the answer of
//     that load; the answer is only not stored.
//   - An answer that may not be stored, or is loaded while the store is
//     unreachable, is not checked against later changes: all lookups that have
//     joined its load get it.
//   - A load without a lease may run beside the one that has it. A source is
//     asked seldom, not exactly once.
//   - A sliding lookup extends the record that is under the key when its request
//     reaches the store. If another record was written within that round trip,
//     that one gets the TTL; lookups with ExpiresAt still end it at its own
//     expires_at.
//
// # Keys
//
// An identity is client input. [CheckIdentity] decides whether it may be part of
// a key, [KeyIdentity] in which form. Under one template, two identities that are
// both hashed, or both not hashed, have two keys. Lookups that share a template
// must agree on hashing: the hash of one identity may be another identity.
//
// No error of this package contains an identity, a key or the text of a record.
package cache
