package lookup

import (
	"maps"
	"slices"
	"sync"
)

// Lookups finds the lookups of one configuration by the names of their routes.
// Several may have one name: those of a snippet that many sites import. The
// zero value is ready to use.
type Lookups struct {
	mu     sync.Mutex
	byName map[string][]*Lookup
	asked  []*asked  // all different ones
	unlike []*Lookup // one of each that differs from the others in key, question or identity
}

// add makes a lookup known under a name. It is an error where another lookup
// shares keys with it but asks something else.
func (l *Lookups) add(name string, lookup *Lookup) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byName == nil {
		l.byName = make(map[string][]*Lookup)
	}
	mine := lookup.asked(name)
	known := false
	for _, other := range l.asked {
		if err := mine.conflict(other); err != nil {
			return err
		}
		known = known || mine.sameAs(other)
	}
	if !known {
		l.asked = append(l.asked, mine)
	}
	if !known || !slices.ContainsFunc(l.unlike, lookup.isWrittenAs) {
		l.unlike = append(l.unlike, lookup)
	}
	l.byName[name] = append(l.byName[name], lookup)
	return nil
}

// Named are the lookups of that name, in the order they were made.
func (l *Lookups) Named(name string) []*Lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.byName[name])
}

// Names are those that there are, in the order of [CompareNames].
func (l *Lookups) Names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Keys(l.byName), CompareNames)
}

// distinct are lookups of which no two have the same keys for the same requests.
func (l *Lookups) distinct() []*Lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unlike[:len(l.unlike):len(l.unlike)]
}
