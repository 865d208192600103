package lookup

import (
	"cmp"
	"maps"
	"strconv"
	"strings"
	"sync"
)

// RouteNames are the names in statistics of one configuration's routes. The
// zero value is ready to use.
type RouteNames struct {
	mu      sync.Mutex
	taken   map[string]bool
	unnamed map[string]int // how many routes of each directive have no name
}

// Take returns the name of a route: the wanted one or, for "", one made of the
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

// Taken returns the names that Take has returned.
func (n *RouteNames) Taken() map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.taken)
}

// CompareNames orders names as people do: numbers in them by their value, so that
// route-9 comes before route-10.
func CompareNames(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		m, n := digits(x), digits(y)
		if m > 0 && n > 0 {
			p, q := strings.TrimLeft(x[:m], "0"), strings.TrimLeft(y[:n], "0")
			if order := cmp.Or(cmp.Compare(len(p), len(q)), cmp.Compare(p, q)); order != 0 {
				return order
			}
			x, y = x[m:], y[n:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

// digits counts the digits at the beginning of a text.
func digits(text string) int {
	return len(text) - len(strings.TrimLeft(text, "0123456789"))
}
