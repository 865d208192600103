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
	// kept is how many measurements are kept: those of an hour.
	kept = 720
	// maxNodes bounds the nodes that have a history. Each needs some 130 KiB.
	maxNodes = 64
	// allNodes stands for all nodes together.
	allNodes = "all"
)

// names are the series in the order of the columns of a history.
var names = slices.Sorted(maps.Keys(series))

// history has the figures of the last hour, of all nodes that are known.
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

// add adds the figures of all nodes at one moment. A node that is not among
// them has no figures for it, and is forgotten when it has had none for as long
// as is kept.
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
			if len(h.nodes) >= maxNodes && !h.forgetOne() {
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

// forgetOne makes room for another node: it forgets the one that has stopped to
// report for the longest time. It is false where all report.
func (h *history) forgetOne() bool {
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

// trim keeps the last of what there is. It copies now and then, so that what is
// not kept is freed.
func trim[T any](all []T) []T {
	if len(all) < kept+kept/4 {
		return all
	}
	return slices.Clone(all[len(all)-kept:])
}

// view is what the page is sent: the figures since some moment.
type view struct {
	Interval int64    `json:"interval"` // in milliseconds
	Node     string   `json:"node"`     // the one that answers
	Selected string   `json:"selected"` // the one whose figures these are, or allNodes
	Nodes    []member `json:"nodes"`
	// Times are in milliseconds of Unix time, with a figure in each series.
	Times  []int64               `json:"times"`
	Series map[string][]nullable `json:"series"`
	Latest *figures              `json:"latest"` // null where the node is gone
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
	Current bool      `json:"current"` // false for one that has stopped to report
}

// limits are the thresholds of health.
type limits struct {
	HitRateBelow float64 `json:"hit_rate_below"`
	LatencyAbove float64 `json:"latency_above"` // in milliseconds
	MemoryAbove  float64 `json:"memory_above"`
	ClientsAbove int64   `json:"clients_above"`
}

// since reads what is newer than a time, of one node or of allNodes. changed is
// closed when there is more.
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

// combinedAt is one figure of several nodes together.
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
