// The check of the directories that the sources of all lookups read files from.

package lookup

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/filewallball/caddy-filewallball/handlers/source"
)

// RootCheck is the result of the check of one directory.
type RootCheck struct {
	Name string
	Err  error // nil if its files can be read
}

// errRootSilent is the error of a directory whose file system does not answer.
var errRootSilent = errors.New("does not answer: its file system hangs")

// roots has the directories of one configuration. The zero value is ready to use.
type roots struct {
	mu      sync.Mutex
	sources []source.Rooted
	// known are the names of the directories that were in use at the last check.
	known map[string]bool

	flights singleflight.Group // so that a file system that hangs is asked once
	failing atomic.Int64
}

// InheritRoots takes over which directories are in use from the configuration before.
func (l *Lookups) InheritRoots(from *Lookups) {
	from.roots.mu.Lock()
	known := maps.Clone(from.roots.known)
	from.roots.mu.Unlock()
	l.roots.mu.Lock()
	defer l.roots.mu.Unlock()
	l.roots.known = known
}

// rootPatience is how long a check may take. It does not end with the client that asks.
const rootPatience = time.Second

// CheckRoots begins to check the directories to which requests have led. wait returns the
// results, those with an error first, within a second of the beginning.
func (l *Lookups) CheckRoots() (wait func() []RootCheck) {
	inUse := l.roots.inUse()
	checks := make(map[string]<-chan singleflight.Result, len(inUse))
	for name, root := range inUse {
		checks[name] = l.roots.flights.DoChan(name, func() (any, error) { return nil, checked(root) })
	}
	until := time.Now().Add(rootPatience)
	return func() []RootCheck {
		all := make([]RootCheck, 0, len(checks))
		failing := int64(0)
		for name, check := range checks {
			err := resultOf(check, until)
			if err != nil {
				failing++
			}
			all = append(all, RootCheck{name, err})
		}
		l.roots.failing.Store(failing)
		slices.SortFunc(all, func(a, b RootCheck) int {
			if (a.Err != nil) != (b.Err != nil) {
				return map[bool]int{true: -1, false: 1}[a.Err != nil]
			}
			return cmp.Compare(a.Name, b.Name)
		})
		return all
	}
}

// checked makes the check. A file system of another plugin that panics must not end the
// process.
func checked(root source.Root) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("cannot be read: its file system panics: %v", cause)
		}
	}()
	return root.Check()
}

// resultOf waits for a result until then. A result that is there comes first.
func resultOf(check <-chan singleflight.Result, until time.Time) error {
	select {
	case r := <-check:
		return r.Err
	default:
	}
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case r := <-check:
		return r.Err
	case <-late.C:
		return errRootSilent
	}
}

// FailingRoots is the number of directories whose files could not be read at the last
// check. ok is false if no lookup reads files.
func (l *Lookups) FailingRoots() (n int64, ok bool) {
	l.roots.mu.Lock()
	defer l.roots.mu.Unlock()
	return l.roots.failing.Load(), len(l.roots.sources) > 0
}

func (r *roots) add(s source.Rooted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources = append(r.sources, s)
}

// inUse returns the directories in use by their names: those to which requests have led,
// here or in an earlier configuration.
func (r *roots) inUse() map[string]source.Root {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]source.Root)
	for _, s := range r.sources {
		for _, root := range s.Roots() {
			all[root.Name] = root
		}
	}
	for name := range r.known {
		for _, s := range r.sources {
			if _, used := all[name]; used {
				break
			}
			if root, ok := s.RootNamed(name); ok {
				all[name] = root
			}
		}
	}
	r.known = make(map[string]bool, len(all))
	for name := range all {
		r.known[name] = true
	}
	return all
}
