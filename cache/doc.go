// Package cache looks records up: JSON objects under plain string keys, in a
// store that a fleet shares or in this process, and where no store has one, in
// a source. It knows no web server; whatever looks up can use it.
//
// # Rooms
//
//   - cache.go has the way of a lookup and nothing else. What follows a miss is
//     in load.go (the source is asked), lease.go (one load in the fleet),
//     flight.go (one load in this process), limit.go (how many loads at a time),
//     waits.go (waking those who wait), giveback.go (leases nobody knows of),
//     fill.go (the answer is stored) and budget.go (how long all that may take).
//   - batch.go has what is done to records by hand, replace.go what is written
//     only over what is known, and warm.go what is loaded before it is needed.
//   - record.go says what a record is, reserved.go which of its fields belong to
//     the cache, tag.go how many are dropped together, and family.go what a key is.
//   - store.go and source.go are what a lookup needs of others. The stores are
//     in the packages memory and redis; package cachetest is the suite that
//     each of them passes, and what it tests is what store.go promises.
//   - near/ are copies of shared records in this process, copies.go how lookups
//     use them, and refresh.go what is asked for anew before it expires.
//   - pending.go drops records, and keeps what the store did not drop until it does.
//   - options.go has what can be chosen for a [Lookup], stats.go what is counted.
//
// A [Cache] owns its store and outlives the lookups over it. [Stats] outlive
// the cache.
//
// # The way of a lookup
//
// [Lookup.Find] goes on to the next step only where one has no answer.
//
//  1. A [Peeker] is asked, or the copies of what a [Watched] store has. A hit
//     ends here: without a lock, an allocation, a context or a goroutine. In
//     the last tenth of its TTL it starts a load in the background.
//  2. The store is asked, for the record and its remaining TTL in one round
//     trip. A record counts if it is within its own expires_at (where the
//     lookup heeds it) and the source still stands by it (where the source is a
//     [Revalidator]). What fails those goes along as "old". A ticket drawn
//     before lets a copy be kept only if the key was not written meanwhile.
//  3. Without a source, that is an absence.
//  4. In this process, one load runs per key and source; the others join it.
//     It runs in a goroutine of its own. It ends when the last lookup that
//     waits for it is ended, and not before.
//  5. The load waits until fewer than MaxConcurrent are under way.
//  6. In the fleet, the load takes the key's lease. A load that does not get it
//     waits until the key is filled or the other load has ended, which the store
//     reports if it is [Watched]; else it looks, 5ms to 100ms apart. It uses
//     what was filled, or fails as the other load did. Where the other answer
//     was not stored, or nothing is heard of the other load for LoadTimeout, it
//     asks the source itself and stores nothing.
//  7. The holder asks the source and fills the key: for TTL or NegativeTTL, 5 %
//     more or less, never beyond the record's expires_at or the source's cap.
//     An answer that is not stored (NegativeTTL 0, NoStore) drops the record
//     that it contradicts, if lookups would still use that.
//
// The round trips before the source is asked share one budget, LookupTimeout. A
// store that fails or is too slow is not asked again in that lookup: the source
// is asked and nothing is stored. Where the source fails too, or there is none,
// a record is used that has expired within StaleIfError; without one the lookup
// is an error. A stored value that is no record is always an error. A round trip
// does not end with the request that began it, as a connection that is given up
// while it waits for an answer is lost.
//
// # What loads promise
//
//   - No lookup takes longer than LoadTimeout and LookupTimeout together,
//     whatever fails (TestNoLookupTakesLongerThanSourceAndStoreMay).
//   - Lookups of one key that wait at the same time, on whichever nodes, are one
//     load, however long it takes and however far the nodes are from the store
//     (TestMissesBehindASlowSourceAreOneLoad), and share its failure
//     (TestThoseWhoWaitShareAFailure). What may not be stored is asked for once
//     by each node, at the same time
//     (TestThoseWhoWaitForWhatIsNotStoredAskAtOnce).
//   - Waiting takes few round trips (TestWaitingForALoadIsNotPolling).
//   - Filling and releasing have a time of their own, whatever the lookup has
//     spent (TestAFarNodeFillsAndReleases). A lease that the store may have
//     granted without its answer reaching this process is given back
//     (TestALeaseThatCameTooLateIsGivenBack).
//   - A load ends with its last waiter and leaves nothing behind
//     (TestALoadEndsWithItsLastWaiter, TestClientsThatLeaveLeaveNothingBehind).
//   - No more than MaxConcurrent loads of a lookup are under way
//     (TestNoMoreLoadsThanAllowedAreUnderWay). A lookup with very many waiting
//     loads is [ErrOverloaded] at once
//     (TestALookupWithTooManyWaitingLoadsIsOverloaded). Other lookups have
//     places of their own (TestALookupIsNotDelayedByTheLoadsOfAnother), and
//     loads leave half of the store's connections to others
//     (TestMissesDoNotStarveOthers).
//   - A refresh that fails is repeated after a pause that grows from a second to
//     a minute (TestARefreshThatFailsIsNotRepeatedAtEveryHit). A record that
//     another node has refreshed is not refreshed again
//     (TestARecordThatWasRefreshedElsewhereIsNotRefreshedAgain). One that was
//     stored for less than the lookup's TTL says so in the reserved field "_ttl",
//     in milliseconds, and has its own last tenth
//     (TestACappedRecordIsRefreshedInItsOwnLastTenth,
//     TestAShortLivedAnswerLeavesTheRefreshOfOthersOn).
//   - The source is asked before an expired record is used
//     (TestTheSourceIsAskedBeforeAStaleRecordIsUsed). What the store or the
//     source has answered since corrects what would be used
//     (TestARefusalCorrectsWhatIsKeptForStaleUse,
//     TestStaleRecordsGiveWayToWhatRedisAndTheSourceSaid).
//
// # Whose answer a record is
//
// What a source answered is stored with the reserved field "_source", the
// [LookupOptions.SourceID] of the lookup that asked. A lookup uses a record
// without that field, which an application wrote, or with its own SourceID.
// Any other is to it as if it were not there: it is neither used nor waited
// for, in the store, in near copies and in stale ones, its source does not see
// it, and its own answer replaces it. A "_source" that cannot be read, or two
// that differ, are used by no lookup.
//
// Field names that begin with "_" are reserved at the top level of records:
// such fields of a source's answer are dropped, and [Record.Field] finds none.
//
// # What copies promise
//
//   - On one node, who has seen a record never sees an older one afterwards.
//   - Who writes through a [Cache] sees that write, or a newer one, in every
//     lookup on that node that begins after it has returned.
//   - On all nodes, a write by anybody is seen as soon as the store has told of
//     it: within 10ms while its connections live, within a second behind one
//     that is silently dead. See package redis for how, and for what it cannot
//     promise: the lag of replicas, failovers that lose writes, and proxies.
//   - A Strict lookup uses a copy only while the store reports changes of its
//     key.
//
// Copies take no more than the near cache's MaxSize; beside it, a million random
// identities leave a process less than 32 MiB larger (TestRandomIdentities…).
//
// # What tags promise
//
// A record that a source filled may bear tags. It notes the version of each in
// the reserved field "_tags", and counts only while all of them are current. So
// [Cache.DropTag] is one write, whatever the number of records. When it has
// returned nil:
//
//   - No lookup that begins after it on this node gets a record with the tag, and
//     none on another node once the store has told of the write.
//   - No load that began before it fills a record with the tag, on any node. The
//     store notes drops in a short list, and a load compares its place in the list
//     with its tags before it fills; where the list does not reach back far
//     enough, nothing is filled.
//   - A tag whose version the store has evicted has dropped its records.
//
// The text of a dropped record stays in the store until it expires or is
// replaced: [Store.Scan] lists its key, and other clients of the store that do not
// heed "_tags" still read it. Records that an application writes bear no tags.
//
// # What invalidations promise that fail
//
// An invalidation that the store did not carry out (out of reach, too slow, full)
// is a [PendingError]. From then on this process uses none of the records that it
// concerns: lookups with a source ask that, others end in [ErrPending]. It is
// tried again until it is done, also by the caches that share its [Pending]. Other
// processes use the records until then, and what is pending ends with the process.
//
// # What leases promise
//
// A lease is the right to fill one key, held by at most one load at a time
// (Nishtala et al., Scaling Memcache at Facebook, NSDI 2013, section 3.2.1).
// [Store.Delete], [Store.DeletePrefix] and [Store.Set] end the leases of the
// keys they change. So:
//
//   - When [Cache.Delete] has returned, no load that began before it fills its
//     key, and no lookup that begins after it gets what such a load finds, on
//     any node: this process keeps later lookups from joining it, another
//     learns of the change when the store refuses to be filled.
//   - What was set, by [Cache.Set] or by a stranger, is not overwritten by a
//     load that does not know it: a fill needs the store to have what the load
//     began from, or nothing.
//   - A load that dies with its node delays others no longer than LoadTimeout
//     and half of LookupTimeout
//     (TestNoLookupTakesLongerThanSourceAndStoreMay).
//
// And what they do not promise:
//
//   - A stranger's DEL ends no lease: a load that was under way may fill the
//     key with what it read before. Applications that delete keys by
//     themselves while they are being loaded should delete them here, or write
//     the new record instead.
//   - A lookup that began a load before an invalidation still gets what that
//     load finds, as one that was answered a moment earlier would have; it is
//     only not stored.
//   - An answer that is not to be stored, or is loaded while the store is out of
//     reach, is not checked against later changes: all lookups that have joined
//     its load get it.
//   - A load without a lease may run beside the one that has it. Sources are
//     asked seldom, not exactly once.
//   - A sliding lookup extends whatever is under the key by the time it gets
//     there. A record that replaced the one looked up, within that round trip,
//     gets its TTL; it never lives beyond its own expires_at where lookups heed
//     that.
//
// # Keys
//
// An identity is client input. [CheckIdentity] decides whether it may become
// part of a key at all, [KeyIdentity] how. Under one template, two identities
// that are both hashed or both not have two keys. Lookups that share a template
// must agree on hashing: the hash of one identity may be another identity.
//
// Identities, keys and the text of records stand in no error of this package.
package cache
