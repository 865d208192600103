package lookup

import (
	"maps"
	"strconv"
	"sync"
)

// RouteNames are the names in statistics of one configuration's routes. The
// zero value is ready to use.
type RouteNames struct {
	mu      sync.Mutex
	taken   map[string]bool
	unnamed map[string]int // how many routes of each directive have no name
}

// Take is the name of a route: the wanted one or, for "", one made of the
// directive's name and a number.
func (n *RouteNames) Take(wanted, directive string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.taken == nil {
		n.taken, n.unnamed = make(map[string]bool), make(map[string]int)
	}
	if wanted == "" {
		n.unnamed[directive]++
		wanted = directive + "-" + strconv.Itoa(n.unnamed[directive])
	}
	n.taken[wanted] = true
	return wanted
}

// Taken are the names that were taken.
func (n *RouteNames) Taken() map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.taken)
}
