package cache

import (
	"sync"
	"time"
)

// Stats counts the outcomes of lookups, by lookup and by source. It outlives the
// caches that count into it, so that counts survive a change of configuration.
// See [NewStats].
type Stats struct {
	mu       sync.RWMutex
	routes   map[string]*routeCounters
	families map[string]*familyCounters
	sources  map[string]*sourceCounters
	recent   recent

	// StoreLatency has the round trips to a shared store.
	StoreLatency Histogram
	// SourceLatency has the loads from sources.
	SourceLatency Histogram
	// StoreErrors counts the errors of a shared store, by operation and reason.
	StoreErrors StoreErrors
	// Uploads counts the uploads whose progress is published.
	Uploads UploadCounters
	// FileSystem counts the lookups in file systems of type lookup_cache.
	FileSystem FileSystemCounters
}

// NewStats returns counters that are all zero.
func NewStats() *Stats {
	s := &Stats{
		routes:   make(map[string]*routeCounters),
		families: make(map[string]*familyCounters),
		sources:  make(map[string]*sourceCounters),
	}
	for _, name := range FamilyNames() {
		s.families[name] = &familyCounters{name: name}
	}
	s.recent.begin(time.Now())
	return s
}

// Counts are numbers of lookups by outcome. A hit is a lookup that a cache
// answered, also with an absence or a refusal; a miss is one that no cache
// could answer. A failed lookup counts as a miss and as an error.
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

// RouteCounts are the counts of the lookups of one name, with their family.
type RouteCounts struct {
	Family string `json:"family"`
	Counts
	// Results are the same by result.
	Results ResultCounts `json:"-"`
}

// SourceCounts are numbers of requests to the sources of one kind. Coalesced
// counts the lookups that another lookup's request answered.
type SourceCounts struct {
	Requests  uint64 `json:"requests"`
	Errors    uint64 `json:"errors"`
	Coalesced uint64 `json:"coalesced"`
	// Outcomes are the requests by outcome, and Failures the errors by reason.
	Outcomes [sourceOutcomes]uint64 `json:"-"`
	Failures [sourceFailures]uint64 `json:"-"`
	// LastError is the latest error, or "". It contains no identity and no key.
	LastError string `json:"-"`
	// LastErrorAt is the time of that error.
	LastErrorAt time.Time `json:"-"`
}

// Snapshot is all counters at one moment.
type Snapshot struct {
	All      Counts
	Families map[string]Counts
	Routes   map[string]RouteCounts
	Sources  map[string]SourceCounts
	// Durations are those of lookups, by family.
	Durations map[string]DurationCounts
	// Window has the counts of the last [WindowAge], or since the counters were
	// made if that is shorter.
	Window Window
}

// Snapshot reads all counters.
func (s *Stats) Snapshot() Snapshot { return s.snapshot(time.Now()) }

func (s *Stats) snapshot(now time.Time) Snapshot {
	snap := s.totals()
	snap.Window = s.recent.window(now, snap)
	return snap
}

// totals is a snapshot without its window.
func (s *Stats) totals() Snapshot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	snap := Snapshot{
		Families:  make(map[string]Counts, len(s.families)),
		Routes:    make(map[string]RouteCounts, len(s.routes)),
		Sources:   make(map[string]SourceCounts, len(s.sources)),
		Durations: make(map[string]DurationCounts, len(s.families)),
	}
	results, fast := make(map[string]*ResultCounts, len(s.families)), make(map[string]uint64, len(s.families))
	for name, family := range s.families {
		retired := family.retired
		results[name], fast[name] = &retired, family.retiredFast
	}
	for name, c := range s.routes {
		counted, quick := c.results()
		snap.Routes[name] = RouteCounts{Family: c.family.name, Counts: counted.counts(), Results: counted}
		results[c.family.name].add(counted)
		fast[c.family.name] += quick
	}
	for name, family := range s.families {
		snap.Families[name] = results[name].counts()
		snap.All = snap.All.plus(snap.Families[name])
		durations := family.slow.Counts()
		durations.Buckets[0] += fast[name] // the clock is not read for them
		snap.Durations[name] = durations
	}
	for name, c := range s.sources {
		snap.Sources[name] = c.counts()
	}
	return snap
}

// RetainRoutes drops the counters of lookups whose names are not given, so that
// reloads with new names do not grow the statistics without bound. Their counts
// remain in those of their families.
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
		counted, fast := c.results()
		c.family.retired.add(counted)
		c.family.retiredFast += fast
		delete(s.routes, name)
	}
}

func (s *Stats) route(name, family string) *routeCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.routes[name]
	if !ok || c.family.name != family {
		s.retire(name)
		c = &routeCounters{family: s.family(family)}
		s.routes[name] = c
	}
	return c
}

// family finds or adds a family. s.mu is held.
func (s *Stats) family(name string) *familyCounters {
	if _, ok := s.families[name]; !ok {
		s.families[name] = &familyCounters{name: name}
	}
	return s.families[name]
}

func (s *Stats) source(name string) *sourceCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sources[name]; !ok {
		s.sources[name] = new(sourceCounters)
	}
	return s.sources[name]
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
