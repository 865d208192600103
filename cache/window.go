// The counts of the last minutes: the difference between the counters now and a
// sample of them from then. A lookup reads one atomic for it; one lookup in ten
// seconds takes the sample.

package cache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

const (
	// WindowAge is the length of a [Window]: 5 minutes.
	WindowAge = 5 * time.Minute
	// sampleEvery is the time between two samples. A window may be this much longer
	// than WindowAge.
	sampleEvery = 10 * time.Second
)

// Window has the counts of the last minutes.
type Window struct {
	Counts
	// Sources has the requests to sources, by kind.
	Sources map[string]SourceCounts
	// Since is when the window began.
	Since time.Time
}

// recent holds the samples of the counters.
type recent struct {
	next atomic.Int64 // when the next sample is due, as clock.Of

	mu      sync.Mutex
	samples []sample // in the order of time, never empty
}

// sample is the state of the counters at one time.
type sample struct {
	at    time.Duration // as clock.Of
	since time.Time     // the same by the wall clock of that time
	Snapshot
}

func (r *recent) begin(now time.Time) {
	at := clock.Of(now)
	r.samples = []sample{{at: at, since: now}}
	r.next.Store(int64(at + sampleEvery))
}

// tick takes a sample if one is due. It is called before the lookup of that
// time is counted.
func (s *Stats) tick(now time.Time) {
	due, at := s.recent.next.Load(), clock.Of(now)
	if int64(at) < due || !s.recent.next.CompareAndSwap(due, int64(at+sampleEvery)) {
		return
	}
	s.recent.add(time.Duration(due), now, s.totals())
}

// add adds a sample that was due at a time before now. Nothing was counted between
// the two, because the first lookup after due takes the sample.
func (r *recent) add(due time.Duration, now time.Time, totals Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	totals = Snapshot{All: totals.All, Sources: totals.Sources} // the rest is of no use here
	at := clock.Of(now)
	r.samples = append(r.samples, sample{due, now.Add(due - at), totals})
	first := 0
	for first+1 < len(r.samples) && r.samples[first+1].at <= at-WindowAge {
		first++
	}
	r.samples = append([]sample(nil), r.samples[first:]...)
}

// window is the difference between the counters now and the latest sample that
// is at least as old as a window.
func (r *recent) window(now time.Time, totals Snapshot) Window {
	at := clock.Of(now)
	if due := r.next.Load(); int64(at) >= due && r.next.CompareAndSwap(due, int64(at+sampleEvery)) {
		r.add(time.Duration(due), now, totals)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	base := r.samples[0]
	for _, s := range r.samples {
		if s.at > at-WindowAge {
			break
		}
		base = s
	}
	w := Window{Counts: totals.All.minus(base.All), Sources: make(map[string]SourceCounts, len(totals.Sources)), Since: base.since}
	for name, counts := range totals.Sources {
		w.Sources[name] = counts.minus(base.Sources[name])
	}
	return w
}

func (n Counts) minus(m Counts) Counts {
	return Counts{
		Hits: n.Hits - m.Hits, Misses: n.Misses - m.Misses, Absent: n.Absent - m.Absent,
		Denied: n.Denied - m.Denied, Stale: n.Stale - m.Stale, Errors: n.Errors - m.Errors,
	}.plus(Counts{})
}

func (n SourceCounts) minus(m SourceCounts) SourceCounts {
	n.Requests -= m.Requests
	n.Errors -= m.Errors
	n.Coalesced -= m.Coalesced
	for i := range n.Outcomes {
		n.Outcomes[i] -= m.Outcomes[i]
	}
	for i := range n.Failures {
		n.Failures[i] -= m.Failures[i]
	}
	return n
}
