package cache

import (
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts the outcomes of lookups, by lookup and by source. It outlives the
// caches that count into it, so that counts survive a change of configuration.
// See [NewStats].
type Stats struct {
	mu     sync.RWMutex
	routes map[string]*routeCounters
	// retired has, by family, the counts of lookups that were removed.
	retired map[string]Counts
	sources map[string]*sourceCounters
	recent  recent

	// StoreLatency has the round trips to a shared store.
	StoreLatency Histogram
	// SourceLatency has the loads from sources.
	SourceLatency Histogram
	// StoreErrors has what the server of a shared store refused.
	StoreErrors StoreErrors
	// Uploads has the uploads whose progress is published.
	Uploads UploadCounters
}

// NewStats returns counters that are all zero.
func NewStats() *Stats {
	s := &Stats{
		routes:  make(map[string]*routeCounters),
		retired: make(map[string]Counts),
		sources: make(map[string]*sourceCounters),
	}
	s.recent.begin(time.Now())
	return s
}

// routeCounters counts for one lookup.
type routeCounters struct {
	family                                      string
	hits, misses, absent, denied, stale, errors atomic.Uint64
}

// sourceCounters counts for the sources of one kind.
type sourceCounters struct {
	requests, errors, coalesced atomic.Uint64
	failure                     atomic.Pointer[sourceFailure]
}

// sourceFailure is the latest error of a source.
type sourceFailure struct {
	text string
	at   time.Time
}

func (c *sourceCounters) failed(err error) {
	c.errors.Add(1)
	c.failure.Store(&sourceFailure{failureText(err), time.Now()})
}

// failureText is an error without the path of a file, which is an identity.
func failureText(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Op + ": " + path.Err.Error()
	}
	return err.Error()
}

// Counts are numbers of lookups by outcome. A hit is a lookup that a cache
// answered, with a known absence or refusal too; a miss is one that no cache
// could answer. A lookup that ended in an error is a miss and an error.
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
}

// SourceCounts are numbers of requests to the sources of one kind. Coalesced
// counts the lookups that were answered by another lookup's request.
type SourceCounts struct {
	Requests  uint64 `json:"requests"`
	Errors    uint64 `json:"errors"`
	Coalesced uint64 `json:"coalesced"`
	// LastError is the latest error, "" where there was none. It has no
	// identity and no key in it.
	LastError string `json:"-"`
	// LastErrorAt is when that was.
	LastErrorAt time.Time `json:"-"`
}

// Snapshot is all counters at one moment.
type Snapshot struct {
	All      Counts
	Families map[string]Counts
	Routes   map[string]RouteCounts
	Sources  map[string]SourceCounts
	// Window has the counts of the last [WindowAge], or since the counters were
	// made if that is less.
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
		counts := SourceCounts{Requests: c.requests.Load(), Errors: c.errors.Load(), Coalesced: c.coalesced.Load()}
		if failure := c.failure.Load(); failure != nil {
			counts.LastError, counts.LastErrorAt = failure.text, failure.at
		}
		snap.Sources[name] = counts
	}
	return snap
}

// RetainRoutes drops the counters of lookups that are not among the names, so
// that reloads with ever new names cannot grow the statistics without bound.
// Their counts stay in those of their families.
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
