package dashboard

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// interval is the time between two measurements.
	interval = 5 * time.Second
	// kept is the number of measurements in the history: those of an hour.
	kept = 720
	// maxNodes bounds the nodes that have a history. Each needs some 130 KiB.
	maxNodes = 64
	// allNodes stands for all nodes together.
	allNodes = "all"
)

// names are the series in the order of the columns of a history.
var names = slices.Sorted(maps.Keys(series))

// history has the figures of the last hour, of all nodes.
type history struct {
	mu    sync.Mutex
	times []int64 // in milliseconds of Unix time, the oldest first
	nodes map[string]*past
	// changed is closed when there are new figures.
	changed chan struct{}
}

// past is the history of one node. It has a row for each of the times.
type past struct {
	latest  figures
	current bool // the node is among those of the last measurement
	rows    [][]nullable
}

func newHistory() *history {
	return &history{nodes: make(map[string]*past), changed: make(chan struct{})}
}

// add adds the figures of all nodes at one time. A node without figures for a whole hour
// is removed.
func (h *history) add(at time.Time, nodes []figures) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.times = trim(append(h.times, at.UnixMilli()))
	for _, p := range h.nodes {
		p.rows, p.current = trim(append(p.rows, nil)), false
	}
	for _, f := range nodes {
		p := h.nodes[f.Node]
		if p == nil {
			if len(h.nodes) >= maxNodes && !h.removeOldest() {
				continue
			}
			p = &past{rows: make([][]nullable, len(h.times))}
			h.nodes[f.Node] = p
		}
		row := make([]nullable, len(names))
		for i, name := range names {
			row[i] = missing
			if value, ok := f.Values[name]; ok {
				row[i] = nullable(value)
			}
		}
		p.latest, p.current, p.rows[len(p.rows)-1] = f, true, row
	}
	maps.DeleteFunc(h.nodes, func(_ string, p *past) bool {
		return !slices.ContainsFunc(p.rows, func(row []nullable) bool { return row != nil })
	})
	close(h.changed)
	h.changed = make(chan struct{})
}

// removeOldest removes the node that stopped reporting first, to make room for another.
// It returns false if all nodes report.
func (h *history) removeOldest() bool {
	oldest, last := "", len(h.times)
	for id, p := range h.nodes {
		seen := len(p.rows) - 1
		for seen >= 0 && p.rows[seen] == nil {
			seen--
		}
		if !p.current && seen < last {
			oldest, last = id, seen
		}
	}
	delete(h.nodes, oldest)
	return oldest != ""
}

// trim removes elements from the front, so that the last [kept] stay. It does so only
// when a quarter more has gathered, and copies the rest, which frees the memory.
func trim[T any](all []T) []T {
	if len(all) < kept+kept/4 {
		return all
	}
	return slices.Clone(all[len(all)-kept:])
}

// view is sent to the page: the figures since some time.
type view struct {
	Interval int64    `json:"interval"` // in milliseconds
	Node     string   `json:"node"`     // the node that answers
	Selected string   `json:"selected"` // the node whose figures these are, or allNodes
	Nodes    []member `json:"nodes"`
	// Times are in milliseconds of Unix time, with a figure in each series.
	Times  []int64               `json:"times"`
	Series map[string][]nullable `json:"series"`
	Latest *figures              `json:"latest"` // null if the node has stopped reporting
	Limits limits                `json:"limits"`
	Purge  bool                  `json:"purge"` // whether keys may be purged
}

// member is a node of the fleet.
type member struct {
	Node    string    `json:"node"`
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Status  string    `json:"status"`
	Current bool      `json:"current"` // false if it has stopped reporting
}

// limits are the thresholds of health.
type limits struct {
	HitRateBelow float64 `json:"hit_rate_below"`
	LatencyAbove float64 `json:"latency_above"` // in milliseconds
	MemoryAbove  float64 `json:"memory_above"`
	ClientsAbove int64   `json:"clients_above"`
}

// since returns the figures after a time, in milliseconds of Unix time, of one node or of
// allNodes. changed is closed when there are newer ones.
func (h *history) since(after int64, node string) (v view, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v = view{Interval: interval.Milliseconds(), Selected: node, Series: make(map[string][]nullable, len(names)), Nodes: []member{}}
	from := max(len(h.times)-kept, 0)
	for from < len(h.times) && h.times[from] <= after {
		from++
	}
	v.Times = append([]int64{}, h.times[from:]...)
	var selected []*past
	var latest []figures
	for id, p := range h.nodes {
		v.Nodes = append(v.Nodes, member{id, p.latest.Name, p.latest.Version, p.latest.Started, p.latest.Status, p.current})
		if node == allNodes || node == id {
			selected = append(selected, p)
			if p.current {
				latest = append(latest, p.latest)
			}
		}
	}
	slices.SortFunc(v.Nodes, func(a, b member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node)) })
	slices.SortFunc(latest, func(a, b figures) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node)) })
	for column, name := range names {
		values := make([]nullable, len(v.Times))
		for i := range values {
			values[i] = combinedAt(selected, from+i, column, series[name])
		}
		v.Series[name] = values
	}
	switch len(latest) {
	case 0:
	case 1:
		v.Latest = &latest[0]
	default:
		f := together(latest)
		v.Latest = &f
	}
	return v, h.changed
}

// combinedAt is one figure of several nodes combined.
func combinedAt(nodes []*past, at, column int, how combine) nullable {
	value, ok := missing, false
	for _, p := range nodes {
		row := p.rows[at]
		if row == nil || row[column] != row[column] {
			continue
		}
		value, ok = nullable(combined(how, float64(value), float64(row[column]), ok)), true
	}
	return value
}
