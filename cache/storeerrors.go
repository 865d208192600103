package cache

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// StoreOp is a kind of round trips to a shared store.
type StoreOp int

// The kinds of round trips.
const (
	StoreRead StoreOp = iota
	StoreWrite
	storeOps = iota
)

// String is "read" or "write".
func (op StoreOp) String() string { return [...]string{"read", "write"}[op] }

// StoreErrors counts the round trips to a shared store that failed: the server
// refused what it was asked, or did not answer. It also has the state of reads
// and writes: they fail from the first failure on, until one succeeds that is
// at least [StoreErrorsCalm] after the latest failure, or nothing has failed for
// [StoreErrorsPast]. Where refusals come back within [StoreErrorsPast], the server
// refuses some of them and not others; the state then ends only after that time.
// Its zero value is ready to use.
type StoreErrors struct {
	failing [storeOps]atomic.Bool // so that a success costs nothing while nothing fails

	mu     sync.Mutex
	counts StoreErrorCounts
	spells [storeOps]spell
}

// spell is a time in which round trips of one kind fail, or the last one.
type spell struct {
	ended   time.Time // by a success
	refused bool      // the server refused some of the commands
	again   bool      // it began soon after another one with refusals
}

const (
	// StoreErrorsCalm keeps the state from changing with every round trip where
	// some fail and others do not: a user may have rights to some keys alone.
	StoreErrorsCalm = 2 * time.Second
	// StoreErrorsPast is the time after the latest failure at which the state no longer
	// counts as failing, even if nothing was tried since.
	StoreErrorsPast = time.Minute
)

// StoreNotAsked is the reason of round trips that were not begun, because the
// circuit breaker is open. The state keeps the reason for which the breaker opened.
const StoreNotAsked = "breaker_open"

// StoreRefusal is what a server refused.
type StoreRefusal int

// What a server may refuse.
const (
	RefusedNothing    StoreRefusal = iota // it did not answer
	RefusedConnection                     // a connection, or its authentication
	RefusedCommand
)

// StoreFailure is one kind of failure.
type StoreFailure struct {
	Op StoreOp
	// Reason is one of a few words, such as "oom" and "timeout".
	Reason string
}

// StoreErrorCounts are the failures until now.
type StoreErrorCounts struct {
	// Reads and Writes are the round trips that failed.
	Reads, Writes uint64
	// ByReason are the same by kind of failure.
	ByReason map[StoreFailure]uint64
	// The latest failure: what the server answered, or why it did not answer, when,
	// of which kind, and the server's address. They are zero where nothing failed.
	Last        string
	LastAt      time.Time
	LastFailure StoreFailure
	LastAddress string
	// States are those of reads and writes.
	States [storeOps]StoreErrorState
}

// StoreErrorState is the state of reads or writes.
type StoreErrorState struct {
	// Failing reports whether they fail.
	Failing bool
	// Since is when they began to.
	Since time.Time
	// The latest failure, even if it is over: its reason, what the server answered,
	// the server's address, and when.
	Reason, Text, Address string
	At                    time.Time
	// Refused is what the server refused.
	Refused StoreRefusal
}

// Failed counts a failed round trip. text is what the server said, if it has
// refused something, or why there was no answer; it must hold no key. began
// reports whether round trips of this kind did not fail before.
func (e *StoreErrors) Failed(failure StoreFailure, text, address string, refused StoreRefusal) (began bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now().UTC()
	if e.counts.ByReason == nil {
		e.counts.ByReason = make(map[StoreFailure]uint64)
	}
	e.counts.ByReason[failure]++
	if failure.Op == StoreRead {
		e.counts.Reads++
	} else {
		e.counts.Writes++
	}
	state := &e.counts.States[failure.Op]
	spell := &e.spells[failure.Op]
	if !state.Failing || now.Sub(state.At) >= StoreErrorsPast {
		state.Since, began = now, true
		spell.again = spell.refused && !spell.ended.IsZero() && now.Sub(spell.ended) < StoreErrorsPast
		spell.refused, spell.ended = false, time.Time{}
	}
	spell.refused = spell.refused || refused == RefusedCommand
	state.Failing, state.At = true, now
	if began || failure.Reason != StoreNotAsked {
		state.Reason, state.Text, state.Address, state.Refused = failure.Reason, text, address, refused
	}
	if e.counts.LastAt.IsZero() || failure.Reason != StoreNotAsked {
		e.counts.Last, e.counts.LastAt, e.counts.LastFailure, e.counts.LastAddress = text, now, failure, address
	}
	e.failing[failure.Op].Store(true)
	return began
}

// Worked notes a round trip that succeeded. recovered reports whether it ended the
// failing state of its kind.
func (e *StoreErrors) Worked(op StoreOp) (recovered bool) {
	if !e.failing[op].Load() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	state, spell, calm := &e.counts.States[op], &e.spells[op], StoreErrorsCalm
	if spell.again && spell.refused {
		calm = StoreErrorsPast
	}
	if !state.Failing || time.Since(state.At) < calm {
		return false
	}
	state.Failing = false
	spell.ended = time.Now()
	e.failing[op].Store(false)
	return true
}

// Answered notes an answer to a command that is neither a read nor a write, such as
// PING. It ends the failing state of the kinds that failed for want of an answer, and
// returns them.
func (e *StoreErrors) Answered() (recovered []StoreOp) {
	for op := range StoreOp(storeOps) {
		if !e.failing[op].Load() {
			continue
		}
		e.mu.Lock()
		refused := e.counts.States[op].Refused
		e.mu.Unlock()
		if refused != RefusedCommand && e.Worked(op) {
			recovered = append(recovered, op)
		}
	}
	return recovered
}

// Counts reads the counters and the states.
func (e *StoreErrors) Counts() StoreErrorCounts {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := e.counts
	counts.ByReason = maps.Clone(counts.ByReason)
	for i := range counts.States {
		state := &counts.States[i]
		state.Failing = state.Failing && time.Since(state.At) < StoreErrorsPast
	}
	return counts
}
