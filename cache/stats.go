package cache

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts what lookups came to, by route and source. It outlives the
// caches that count into it, so that numbers survive a change of
// configuration. See [NewStats].
type Stats struct {
	mu     sync.RWMutex
	routes map[string]*routeCounters
	// retired has, by family, what was counted by routes that are no more.
	retired map[string]Counts
	sources map[string]*sourceCounters

	// StoreLatency has the round trips to a shared store.
	StoreLatency Histogram
	// SourceLatency has the loads from sources.
	SourceLatency Histogram
	// StoreErrors has what the server of a shared store refused.
	StoreErrors StoreErrors
}

// NewStats returns counters that stand at zero.
func NewStats() *Stats {
	return &Stats{
		routes:  make(map[string]*routeCounters),
		retired: make(map[string]Counts),
		sources: make(map[string]*sourceCounters),
	}
}

// routeCounters counts the lookups of one route.
type routeCounters struct {
	family                                      string
	hits, misses, absent, denied, stale, errors atomic.Uint64
}

// sourceCounters counts what was asked of sources of one kind.
type sourceCounters struct {
	requests, errors, coalesced atomic.Uint64
}

// Counts tells what lookups came to. A hit is one that a cache answered,
// known absences and refusals among them; a miss is one that no cache could
// answer. One that ended in an error is a miss and an error.
type Counts struct {
	TotalRequests uint64 `json:"total_requests"`
	Hits          uint64 `json:"hits"`
	Misses        uint64 `json:"misses"`
	Absent        uint64 `json:"absent"`
	Denied        uint64 `json:"denied"`
	Stale         uint64 `json:"stale"`
	Errors        uint64 `json:"errors"`
	// HitRate is a percentage, 0 before the first lookup.
	HitRate float64 `json:"hit_rate"`
}

// RouteCounts are the counts of one route, with the family it looks up.
type RouteCounts struct {
	Family string `json:"family"`
	Counts
}

// SourceCounts tells what was asked of sources of one kind. Coalesced
// counts the lookups that were answered by a request of another one.
type SourceCounts struct {
	Requests  uint64 `json:"requests"`
	Errors    uint64 `json:"errors"`
	Coalesced uint64 `json:"coalesced"`
}

// Snapshot is all counters at one moment.
type Snapshot struct {
	All      Counts
	Families map[string]Counts
	Routes   map[string]RouteCounts
	Sources  map[string]SourceCounts
}

// Snapshot reads all counters.
func (s *Stats) Snapshot() Snapshot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	snap := Snapshot{
		Families: make(map[string]Counts),
		Routes:   make(map[string]RouteCounts, len(s.routes)),
		Sources:  make(map[string]SourceCounts, len(s.sources)),
	}
	for _, name := range FamilyNames() {
		snap.Families[name] = s.retired[name]
	}
	for name, c := range s.routes {
		counts := c.counts()
		snap.Routes[name] = RouteCounts{Family: c.family, Counts: counts}
		snap.Families[c.family] = snap.Families[c.family].plus(counts)
	}
	for _, counts := range snap.Families {
		snap.All = snap.All.plus(counts)
	}
	for name, c := range s.sources {
		snap.Sources[name] = SourceCounts{
			Requests: c.requests.Load(), Errors: c.errors.Load(), Coalesced: c.coalesced.Load(),
		}
	}
	return snap
}

// RetainRoutes forgets the counters of routes that are not among the names, so
// that reloads with ever new names cannot grow the statistics without bound.
// Their families remember what they counted.
func (s *Stats) RetainRoutes(names map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.routes {
		if !names[name] {
			s.retire(name)
		}
	}
}

func (s *Stats) retire(name string) {
	if c, ok := s.routes[name]; ok {
		s.retired[c.family] = s.retired[c.family].plus(c.counts())
		delete(s.routes, name)
	}
}

func (s *Stats) route(name, family string) *routeCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.routes[name]
	if !ok || c.family != family {
		s.retire(name)
		c = &routeCounters{family: family}
		s.routes[name] = c
	}
	return c
}

func (s *Stats) source(name string) *sourceCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sources[name]; !ok {
		s.sources[name] = new(sourceCounters)
	}
	return s.sources[name]
}

func (c *routeCounters) counts() Counts {
	return Counts{
		Hits: c.hits.Load(), Misses: c.misses.Load(), Absent: c.absent.Load(),
		Denied: c.denied.Load(), Stale: c.stale.Load(), Errors: c.errors.Load(),
	}.plus(Counts{})
}

func (n Counts) plus(m Counts) Counts {
	n.Hits += m.Hits
	n.Misses += m.Misses
	n.Absent += m.Absent
	n.Denied += m.Denied
	n.Stale += m.Stale
	n.Errors += m.Errors
	n.TotalRequests = n.Hits + n.Misses
	if n.TotalRequests > 0 {
		n.HitRate = 100 * float64(n.Hits) / float64(n.TotalRequests)
	}
	return n
}

func (c *routeCounters) add(r *Result) {
	if r.Hit {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
	switch r.Outcome {
	case OutcomeAbsent:
		c.absent.Add(1)
	case OutcomeDenied:
		c.denied.Add(1)
	case OutcomeStale:
		c.stale.Add(1)
	case OutcomeError:
		c.errors.Add(1)
	}
}

const (
	// histogram buckets: 8 per doubling, from 1µs
	bucketsPerDoubling = 8
	doublings          = 26 // up to over a minute
	bucketCount        = bucketsPerDoubling * doublings
	// window is how long a measured duration counts, at least.
	window = time.Minute
)

// Histogram keeps durations of the last one to two minutes, and the count and
// sum of all there were, without locks on the way in. A quantile is never too
// small, and too large by an eighth or a microsecond at most. Above four
// minutes it is four minutes. The zero value is ready to use.
type Histogram struct {
	count, sum atomic.Uint64
	started    atomic.Int64 // of the current generation, Unix nanoseconds
	current    atomic.Uint32
	buckets    [2][bucketCount]atomic.Uint64
}

// Observe adds a duration.
func (h *Histogram) Observe(d time.Duration) {
	h.count.Add(1)
	h.sum.Add(uint64(max(0, d)))
	h.rotate(time.Now())
	h.buckets[h.current.Load()&1][bucketOf(d)].Add(1)
}

// rotate begins a new generation when the current one is over, dropping the
// one before it, or both after a long rest.
func (h *Histogram) rotate(now time.Time) {
	started := h.started.Load()
	age := time.Duration(now.UnixNano() - started)
	if age < window || !h.started.CompareAndSwap(started, now.UnixNano()) {
		return
	}
	next := h.current.Load() + 1
	h.clear(next)
	if age > 2*window {
		h.clear(next + 1)
	}
	h.current.Store(next)
}

func (h *Histogram) clear(generation uint32) {
	for i := range h.buckets[generation&1] {
		h.buckets[generation&1][i].Store(0)
	}
}

// Count is how many durations were ever added, and Sum what they add up to.
func (h *Histogram) Count() uint64 { return h.count.Load() }

// Sum is the total of all durations ever added.
func (h *Histogram) Sum() time.Duration { return time.Duration(h.sum.Load()) }

// Quantiles estimates quantiles (0 to 1, in ascending order) over the last
// one to two minutes; they are 0 where nothing was added.
func (h *Histogram) Quantiles(quantiles ...float64) []time.Duration {
	h.rotate(time.Now())
	var counts [bucketCount]uint64
	var total uint64
	for i := range counts {
		counts[i] = h.buckets[0][i].Load() + h.buckets[1][i].Load()
		total += counts[i]
	}
	values := make([]time.Duration, len(quantiles))
	if total == 0 {
		return values
	}
	bucket, seen := 0, counts[0]
	for i, q := range quantiles {
		for rank := min(total-1, uint64(q*float64(total))); seen <= rank; {
			bucket++
			seen += counts[bucket]
		}
		values[i] = bucketTop(bucket)
	}
	return values
}

// bucketOf splits each doubling of a microsecond into equal parts.
func bucketOf(d time.Duration) int {
	us := uint64(max(0, d) / time.Microsecond)
	// below one doubling's worth of microseconds, a bucket each
	if us < bucketsPerDoubling {
		return int(us)
	}
	shift := bits.Len64(us) - bits.Len64(bucketsPerDoubling)
	return min(bucketCount-1, shift*bucketsPerDoubling+int(us>>shift))
}

func bucketTop(bucket int) time.Duration {
	if bucket < bucketsPerDoubling {
		return time.Duration(bucket+1) * time.Microsecond
	}
	shift := bucket/bucketsPerDoubling - 1
	return time.Duration((bucketsPerDoubling+bucket%bucketsPerDoubling+1)<<shift) * time.Microsecond
}
