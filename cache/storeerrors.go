package cache

import (
	"sync"
	"time"
)

// StoreErrors counts the requests that the server of a shared store refused: it
// answered, but with an error. Read it with [StoreErrors.Counts]. The zero
// value is ready to use.
type StoreErrors struct {
	mu     sync.Mutex
	counts StoreErrorCounts
}

// StoreErrorCounts are the refusals so far.
type StoreErrorCounts struct {
	// Reads and Writes are how many round trips were refused.
	Reads  uint64 `json:"reads"`
	Writes uint64 `json:"writes"`
	// Last is the text of the latest refusal, and LastAt its time.
	Last   string     `json:"last,omitempty"`
	LastAt *time.Time `json:"last_at,omitempty"`
	// LastRead and LastWrite are the latest refusals of each kind.
	LastRead, LastWrite Refusal `json:"-"`
}

// Refusal is what the server said, and when. It is zero where the server
// refused nothing.
type Refusal struct {
	Text string
	At   time.Time
}

// Refused counts a refused round trip. text is what the server said; it must
// not contain a key.
func (e *StoreErrors) Refused(write bool, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now().UTC()
	e.counts.Last, e.counts.LastAt = text, &now
	if write {
		e.counts.Writes++
		e.counts.LastWrite = Refusal{text, now}
	} else {
		e.counts.Reads++
		e.counts.LastRead = Refusal{text, now}
	}
}

// Counts reads the counters.
func (e *StoreErrors) Counts() StoreErrorCounts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}
