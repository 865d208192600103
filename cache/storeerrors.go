package cache

import (
	"sync"
	"time"
)

// StoreErrors counts what the server of a shared store has refused: it answered,
// but with an error. Use [StoreErrors.Counts] to read it; the zero value is
// ready to use.
type StoreErrors struct {
	mu     sync.Mutex
	counts StoreErrorCounts
}

// StoreErrorCounts are the refusals until now.
type StoreErrorCounts struct {
	// Reads and Writes are round trips that were refused.
	Reads  uint64 `json:"reads"`
	Writes uint64 `json:"writes"`
	// Last is what the server said last, and LastAt is when.
	Last   string     `json:"last,omitempty"`
	LastAt *time.Time `json:"last_at,omitempty"`
	// LastRead and LastWrite are the latest of each.
	LastRead, LastWrite Refusal `json:"-"`
}

// Refusal is what the server said, and when; zero where it refused nothing.
type Refusal struct {
	Text string
	At   time.Time
}

// Refused counts a refused round trip. text is what the server said; it must
// hold no key.
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
