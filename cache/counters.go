// The counters behind the statistics. A lookup adds one to one of them, and the
// counts that have names are sums.

package cache

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"sync/atomic"
	"time"
)

// LookupResult is the outcome of a lookup, and whether a cache or the source gave it.
// Each lookup has one.
type LookupResult int

// The results. The first four are answers of a cache.
const (
	ResultHit        LookupResult = iota // a record
	ResultAbsent                         // a known absence
	ResultDenied                         // a known refusal
	ResultStale                          // an expired record
	ResultMiss                           // a record of the source
	ResultMissAbsent                     // neither the store nor the source has one
	ResultMissDenied                     // a refusal of the source
	ResultError                          // the lookup failed
	lookupResults    = iota
)

// ResultCounts counts lookups by result.
type ResultCounts [lookupResults]uint64

// resultOf is the result of a lookup.
func resultOf(r *Result) LookupResult {
	switch {
	case r.Outcome == OutcomeError:
		return ResultError
	case r.Outcome == OutcomeStale:
		return ResultStale
	case r.Outcome == OutcomeAbsent && r.Hit:
		return ResultAbsent
	case r.Outcome == OutcomeAbsent:
		return ResultMissAbsent
	case r.Outcome == OutcomeDenied && r.Hit:
		return ResultDenied
	case r.Outcome == OutcomeDenied:
		return ResultMissDenied
	case r.Hit:
		return ResultHit
	}
	return ResultMiss
}

// counts sums the results into the counts that have names.
func (n *ResultCounts) counts() Counts {
	return Counts{
		Hits:   n[ResultHit] + n[ResultAbsent] + n[ResultDenied] + n[ResultStale],
		Misses: n[ResultMiss] + n[ResultMissAbsent] + n[ResultMissDenied] + n[ResultError],
		Absent: n[ResultAbsent] + n[ResultMissAbsent],
		Denied: n[ResultDenied] + n[ResultMissDenied],
		Stale:  n[ResultStale],
		Errors: n[ResultError],
	}.plus(Counts{})
}

func (n *ResultCounts) add(m ResultCounts) {
	for i := range n {
		n[i] += m[i]
	}
}

// routeCounters counts for the lookups of one name.
type routeCounters struct {
	family *familyCounters
	// fast were answered from the memory of this process.
	fast, slow [lookupResults]atomic.Uint64
	source     sourceState
}

// familyCounters counts for the lookups of one family.
type familyCounters struct {
	name string
	// slow has the durations of lookups that were not answered from the memory
	// of this process.
	slow Durations
	// retired has the counts of lookups that were removed, retiredFast those of
	// them that were fast.
	retired     ResultCounts
	retiredFast uint64
}

// addFast counts a lookup that was answered from the memory of this process.
func (c *routeCounters) addFast(r *Result) { c.fast[resultOf(r)].Add(1) }

// add counts any other lookup, with its duration.
func (c *routeCounters) add(ctx context.Context, r *Result, took time.Duration) {
	c.slow[resultOf(r)].Add(1)
	c.family.slow.Observe(ctx, took)
}

// results reads the counters; fast are those that were answered from memory.
func (c *routeCounters) results() (all ResultCounts, fast uint64) {
	for i := range all {
		n := c.fast[i].Load()
		fast += n
		all[i] = n + c.slow[i].Load()
	}
	return all, fast
}

// SourceOutcome is the outcome of a request to a source.
type SourceOutcome int

// The outcomes of requests to sources.
const (
	SourceFound    SourceOutcome = iota // a record
	SourceAbsent                        // there is none
	SourceDenied                        // it is refused
	SourceResponse                      // no record, but an answer for the client, such as a redirect
	SourceFailed                        // an error
	SourceLeft                          // every client has left before it answered
	sourceOutcomes = iota
)

// SourceFailure is why a request to a source failed.
type SourceFailure int

// Why requests to sources fail.
const (
	SourceTimedOut   SourceFailure = iota // it did not answer in time
	SourceNoNetwork                       // it cannot be connected to, or the connection broke
	SourceUnreadable                      // its answer is no record, or too large
	SourceOther                           // it answered an error
	sourceFailures   = iota
)

// String is the reason in metrics and in the log.
func (f SourceFailure) String() string {
	return [...]string{"timeout", "connection", "invalid", "other"}[f]
}

// sourceCounters counts for the sources of one kind.
type sourceCounters struct {
	outcomes  [sourceOutcomes]atomic.Uint64
	failures  [sourceFailures]atomic.Uint64
	coalesced atomic.Uint64
	failure   atomic.Pointer[sourceFailure]
}

// sourceFailure is the latest error of a source.
type sourceFailure struct {
	text string
	at   time.Time
}

// answered counts a request that the source answered.
func (c *sourceCounters) answered(record *Record) {
	outcome := SourceResponse
	if record != nil {
		switch record.State() {
		case Absent:
			outcome = SourceAbsent
		case Denied:
			outcome = SourceDenied
		default:
			outcome = SourceFound
		}
	}
	c.outcomes[outcome].Add(1)
}

// failed counts a request that failed.
func (c *sourceCounters) failed(err error) {
	c.outcomes[SourceFailed].Add(1)
	c.failures[sourceFailureOf(err)].Add(1)
	c.failure.Store(&sourceFailure{failureText(err), time.Now()})
}

func sourceFailureOf(err error) SourceFailure {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return SourceTimedOut
	case errors.Is(err, ErrInvalidRecord):
		return SourceUnreadable
	case network != nil:
		return SourceNoNetwork
	}
	return SourceOther
}

func (c *sourceCounters) counts() SourceCounts {
	var n SourceCounts
	for i := range n.Outcomes {
		n.Outcomes[i] = c.outcomes[i].Load()
		n.Requests += n.Outcomes[i]
	}
	for i := range n.Failures {
		n.Failures[i] = c.failures[i].Load()
	}
	n.Errors, n.Coalesced = n.Outcomes[SourceFailed], c.coalesced.Load()
	if failure := c.failure.Load(); failure != nil {
		n.LastError, n.LastErrorAt = failure.text, failure.at
	}
	return n
}

// failureText is the text of an error without the path of a file, because the path is
// an identity.
func failureText(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Op + ": " + path.Err.Error()
	}
	return err.Error()
}
