package lifetime

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// These tests share the one process of the package, so they run one after the
// other.

// configuration is an app as this package sees it.
type configuration struct {
	App
	process *Process
	shared  *Shared
}

func (*configuration) ApplyShared(*cache.Stats) {}

func (c *configuration) Cache() *cache.Cache { return c.shared.Cache }

// load replaces the configuration that runs by one with that store, as Caddy
// does: the new one starts before the old one ends.
func (c *configuration) load(t *testing.T, store *openable) *configuration {
	t.Helper()
	next := &configuration{process: Join()}
	var err error
	next.shared, err = next.process.Acquire(store.opener())
	require.NoError(t, err)
	next.process.Started(next)
	c.end(t)
	return next
}

func (c *configuration) end(t *testing.T) {
	t.Helper()
	if c == nil {
		return
	}
	c.process.Ended(c)
	require.NoError(t, c.shared.Release())
	c.process.Leave()
}

// openable is a store that counts how often it was opened and closed.
type openable struct {
	name           string
	opened, closed atomic.Int32
	closing        func() // where set, called before it closes
}

type countedStore struct {
	cache.Store
	of *openable
}

func (s countedStore) Close() error {
	if s.of.closing != nil {
		s.of.closing()
	}
	s.of.closed.Add(1)
	return s.Store.Close()
}

func (o *openable) opener() Opener {
	return Opener{Fingerprint: o.name, Place: o.name, Open: func(*cache.Stats) (cache.Store, error) {
		store, err := memory.New(memory.Options{})
		o.opened.Add(1)
		return countedStore{store, o}, err
	}}
}

// open reports whether the store is open.
func (o *openable) open() bool { return o.opened.Load() > o.closed.Load() }

func after(d time.Duration) {
	time.Sleep(d) // of a bubble's clock
	synctest.Wait()
}

// nothingIsLeft checks, in a bubble, that the package keeps nothing once all have
// ended.
func nothingIsLeft(t *testing.T, stores ...*openable) {
	t.Helper()
	synctest.Wait()
	for _, store := range stores {
		require.False(t, store.open(), "%s is still open", store.name)
		require.Equal(t, store.opened.Load(), store.closed.Load(), "%s was closed twice", store.name)
	}
	_, ok := running()
	require.False(t, ok, "the process is still in the pool")
}

func TestAReplacedStoreClosesWithItsLastUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &openable{name: "one"}, &openable{name: "two"}
		var none *configuration
		c := none.load(t, one)
		first, second := c.shared.Hold(), c.shared.Hold()
		c = c.load(t, two)
		after(time.Hour)
		require.True(t, one.open(), "two requests use it")
		first()
		after(time.Hour)
		require.True(t, one.open(), "a request uses it")
		second()
		synctest.Wait()
		require.False(t, one.open(), "it is unused")
		c.end(t)
		nothingIsLeft(t, one, two)
	})
}

func TestAReplacedStoreWaitsForRequestsThatAreOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &openable{name: "one"}, &openable{name: "two"}
		var none *configuration
		c := none.load(t, one)
		old := c.shared
		c = c.load(t, two)
		after(closeDelay - time.Millisecond)
		release := old.Hold()
		after(time.Minute)
		require.True(t, one.open())
		release()
		synctest.Wait()
		require.False(t, one.open())
		c.end(t)
		nothingIsLeft(t, one, two)
	})
}

func TestAConfigurationThatComesBackFindsItsStoreOpen(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": 0, "while a request holds it": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one, two := &openable{name: "one"}, &openable{name: "two"}
				var none *configuration
				c := none.load(t, one)
				old, release := c.shared, c.shared.Hold()
				c = c.load(t, two)
				after(wait)
				c = c.load(t, one)
				require.Same(t, old, c.shared)
				release()
				after(time.Hour)
				require.True(t, one.open(), "a configuration uses it")
				require.False(t, two.open())
				require.EqualValues(t, 1, one.opened.Load())
				c.end(t)
				nothingIsLeft(t, one, two)
			})
		})
	}
}

func TestTheEndOfAllConfigurationsClosesWhatNoRequestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, three := &openable{name: "one"}, &openable{name: "two"}, &openable{name: "three"}
		var none *configuration
		c := none.load(t, one)
		first := c.shared.Hold()
		c = c.load(t, two).load(t, three)
		third := c.shared.Hold()
		c.end(t)
		require.False(t, two.open(), "it is closed when the last configuration has left")
		require.True(t, one.open() && three.open(), "requests use them")
		first()
		third()
		synctest.Wait()
		nothingIsLeft(t, one, two, three)
	})
}

func TestAConfigurationAfterNoneFindsTheStoreThatARequestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := &openable{name: "one"}
		var none *configuration
		c := none.load(t, one)
		old, release := c.shared, c.shared.Hold()
		c.end(t)
		c = none.load(t, one)
		require.Same(t, old, c.shared, "two stores may have one file")
		release()
		c.end(t)
		nothingIsLeft(t, one)
	})
}

func TestTheEndOfTheProcessClosesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &openable{name: "one"}, &openable{name: "two"}
		var none *configuration
		c := none.load(t, one)
		release := c.shared.Hold()
		c = c.load(t, two)
		Exit(t.Context())
		require.False(t, one.open())
		require.True(t, two.open(), "a configuration uses it")
		release()
		c.end(t)
		synctest.Wait()
		nothingIsLeft(t, one, two)
	})
}

func TestAStoreThatIsClosingIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &openable{name: "one"}, &openable{name: "two"}
		one.closing = func() { time.Sleep(time.Minute) } // it writes a file
		var none *configuration
		c := none.load(t, one)
		old := c.shared
		c = c.load(t, two)
		after(closeDelay + time.Second)
		require.True(t, one.open(), "it is closing")
		c = c.load(t, one)
		require.NotSame(t, old, c.shared)
		require.EqualValues(t, 1, one.closed.Load(), "it was opened again before it was closed")
		one.closing = nil
		c.end(t)
		nothingIsLeft(t, one, two)
	})
}

func TestPlacesAreForgottenWithTheirCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &openable{name: "one"}, &openable{name: "two"}
		var none *configuration
		c := none.load(t, one)
		process := c.process
		for range 10 {
			c = c.load(t, two)
			after(2 * closeDelay)
			require.Len(t, process.places, 1)
			c = c.load(t, one)
			after(2 * closeDelay)
		}
		c.end(t)
		nothingIsLeft(t, one, two)
	})
}

func TestAFailedStartLeavesTheFormerConfigurationTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &openable{name: "one"}, &openable{name: "two"}
		var none *configuration
		c := none.load(t, one)
		failed := &configuration{process: Join()}
		var err error
		failed.shared, err = failed.process.Acquire(two.opener())
		require.NoError(t, err)
		failed.process.Started(failed)
		failed.end(t)
		app, ok := Running()
		require.True(t, ok)
		require.Same(t, c, app)
		after(2 * closeDelay)
		require.True(t, one.open())
		require.False(t, two.open())
		c.end(t)
		nothingIsLeft(t, one, two)
	})
}

// Requests come and go while configurations change: none that holds a store finds
// it closed, and in the end all are.
func TestHoldersAndReloadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := []*openable{{name: "one"}, {name: "two"}, {name: "three"}, {name: "four"}}
		var none *configuration
		c := none.load(t, stores[0])
		var current atomic.Pointer[configuration]
		current.Store(c)
		var stop atomic.Bool
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				for !stop.Load() {
					shared := current.Load().shared
					time.Sleep(rand.N(closeDelay)) // it is on its way
					release := shared.Hold()
					time.Sleep(rand.N(4 * closeDelay))
					if err := shared.Store().Ping(t.Context()); err != nil {
						t.Errorf("the store of a request is closed: %v", err)
					}
					release()
				}
			})
		}
		for range 500 {
			c = c.load(t, stores[rand.IntN(len(stores))])
			current.Store(c)
			time.Sleep(rand.N(2 * closeDelay))
		}
		stop.Store(true)
		group.Wait()
		c.end(t)
		nothingIsLeft(t, stores...)
		for _, store := range stores {
			require.Greater(t, store.closed.Load(), int32(1), "%s was never closed meanwhile", store.name)
		}
	})
}
