// Loads from the source: one for all who ask, on whichever node, and what
// becomes of it when the key is invalidated meanwhile.

package cache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestManyLookupsAreOneLoad(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		const n = 100
		src := newGate()
		lookup := newLookup(t, c, cache.LookupOptions{Source: src})
		var group sync.WaitGroup
		for range n {
			group.Go(func() {
				r := lookup.Find(t.Context(), reqA)
				assert.True(t, r.OK())
				assert.Equal(t, `{"n":1}`, r.Record.Text())
			})
		}
		<-src.entered
		src.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
		group.Wait()
		require.EqualValues(t, 1, src.loads.Load())
		snap := c.Stats().Snapshot()
		require.EqualValues(t, n, snap.Routes["lookup"].TotalRequests)
		require.EqualValues(t, 1, snap.Sources["test"].Requests)
		require.EqualValues(t, n-1, snap.Sources["test"].Coalesced+snap.Routes["lookup"].Hits)
	})
}

func TestManyLookupsOnManyNodesAreOneLoad(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	src := newGate()
	var group sync.WaitGroup
	for range 5 {
		c := newCache(t, &wrapped{Store: store})
		lookup := newLookup(t, c, cache.LookupOptions{Source: src})
		for range 20 {
			group.Go(func() {
				r := lookup.Find(t.Context(), reqA)
				assert.True(t, r.OK())
				assert.Equal(t, `{"n":1}`, r.Record.Text())
			})
		}
	}
	<-src.entered
	src.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
	group.Wait()
	require.EqualValues(t, 1, src.loads.Load())
}

func TestALoadOfADeadNodeDelaysOthersBriefly(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		const loadTimeout = 50 * time.Millisecond
		_, _, err := c.Store().Acquire(t.Context(), reqA.Key, nil, time.Hour, false)
		require.NoError(t, err)
		lookup := newLookup(t, c, cache.LookupOptions{Source: saying(t, `{"n":1}`), LoadTimeout: loadTimeout})
		started := time.Now()
		r := lookup.Find(t.Context(), reqA)
		require.GreaterOrEqual(t, time.Since(started), loadTimeout)
		require.Equal(t, cache.OutcomeMiss, r.Outcome)
		require.False(t, r.Stored, "another node holds the lease")
		require.Zero(t, r.TTL)
		require.Nil(t, get(t, c, reqA.Key).Record)
	})
}

func TestWaitersGetWhatAnotherNodeFills(t *testing.T) {
	t.Parallel()
	store := &wrapped{Store: newStore(t)}
	c := newCache(t, store)
	token, _, err := c.Store().Acquire(t.Context(), reqA.Key, nil, time.Hour, false)
	require.NoError(t, err)
	src := saying(t, `{"n":1}`)
	lookup := newLookup(t, c, cache.LookupOptions{Source: src})
	results := make(chan cache.Result)
	go func() { results <- lookup.Find(t.Context(), reqA) }()
	require.Eventually(t, func() bool { return store.called("reacquire") > 3 }, 10*time.Second, time.Millisecond)
	filled, err := c.Store().Fill(t.Context(), reqA.Key, token, nil, decode(t, `{"n":2}`), nil, time.Hour)
	require.NoError(t, err)
	require.True(t, filled)
	r := <-results
	require.Equal(t, cache.OutcomeHit, r.Outcome)
	require.True(t, r.Hit)
	require.Equal(t, `{"n":2}`, r.Record.Text())
	require.Zero(t, src.loads.Load())
}

func TestAnInvalidationDuringALoadLeavesNothingStale(t *testing.T) {
	for name, invalidate := range map[string]func(*cache.Cache, context.Context) error{
		"delete":        func(c *cache.Cache, ctx context.Context) error { _, err := c.Delete(ctx, reqA.Key); return err },
		"delete prefix": func(c *cache.Cache, ctx context.Context) error { _, err := c.DeletePrefix(ctx, "key:"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c *cache.Cache) {
				src := newGate()
				lookup := newLookup(t, c, cache.LookupOptions{Source: src})
				early, late := make(chan cache.Result), make(chan cache.Result)
				go func() { early <- lookup.Find(t.Context(), reqA) }()
				<-src.entered
				require.NoError(t, invalidate(c, t.Context()))

				go func() { late <- lookup.Find(t.Context(), reqA) }()
				<-src.entered // it does not join a load that may be older than the invalidation
				src.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
				src.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
				stored := 0
				for _, r := range []cache.Result{<-early, <-late} {
					require.Equal(t, cache.OutcomeMiss, r.Outcome)
					if r.Stored {
						stored++
					}
				}
				require.Equal(t, 1, stored, "only the later one")
			})
		})
	}
}

func TestAnInvalidationOnAnotherNodeTakesEffect(t *testing.T) {
	t.Parallel()
	shared := &wrapped{Store: newStore(t)}
	here, there := newCache(t, shared), newCache(t, &wrapped{Store: shared.Store})
	src := newGate()
	lookup := newLookup(t, here, cache.LookupOptions{Source: src})
	early, late := make(chan cache.Result), make(chan cache.Result)
	go func() { early <- lookup.Find(t.Context(), reqA) }()
	<-src.entered
	_, err := there.Delete(t.Context(), reqA.Key)
	require.NoError(t, err)

	go func() { late <- lookup.Find(t.Context(), reqA) }()
	require.Eventually(t, func() bool { return shared.called("get") == 2 }, 10*time.Second, time.Millisecond)
	src.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
	require.False(t, (<-early).Stored)
	<-src.entered
	src.answer <- cache.Loaded{Record: decode(t, `{"n":2}`)}
	r := <-late
	require.Equal(t, `{"n":2}`, r.Record.Text())
	require.True(t, r.Stored)
	requireStored(t, here, reqA.Key, `{"n":2}`)
}

func TestALoadFromBeforeAnInvalidationIsNotStored(t *testing.T) {
	newer := `{"n":2}`
	for name, test := range map[string]struct {
		change func(*testing.T, *cache.Cache) error
		stored string
	}{
		"delete":        {func(t *testing.T, c *cache.Cache) error { _, err := c.Delete(t.Context(), reqA.Key); return err }, ""},
		"delete prefix": {func(t *testing.T, c *cache.Cache) error { _, err := c.DeletePrefix(t.Context(), "k"); return err }, ""},
		"set": {func(t *testing.T, c *cache.Cache) error {
			return c.Set(t.Context(), reqA.Key, decode(t, newer), time.Hour)
		}, newer},
		"set many": {func(t *testing.T, c *cache.Cache) error {
			return c.SetMany(t.Context(), []cache.Item{{Key: reqA.Key, Record: decode(t, newer), TTL: time.Hour}})
		}, newer},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c *cache.Cache) {
				src := newGate()
				lookup := newLookup(t, c, cache.LookupOptions{Source: src})
				result := make(chan cache.Result)
				go func() { result <- lookup.Find(t.Context(), reqA) }()
				<-src.entered
				require.NoError(t, test.change(t, c))
				src.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
				require.False(t, (<-result).Stored)
				if test.stored == "" {
					requireNothingStored(t, c, reqA.Key)
				} else {
					requireStored(t, c, reqA.Key, test.stored)
					require.Equal(t, test.stored, lookup.Find(t.Context(), reqA).Record.Text())
				}
			})
		})
	}
}

func TestALeavingClientDoesNotEndTheLoadOfOthers(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		type valueKey struct{}
		src := newGate()
		lookup := newLookup(t, c, cache.LookupOptions{Source: src})
		ctx, leave := context.WithCancel(context.WithValue(t.Context(), valueKey{}, "value"))
		left, stayed := make(chan cache.Result), make(chan cache.Result)
		go func() { left <- lookup.Find(ctx, reqA) }()
		loadCtx := <-src.entered
		go func() { stayed <- lookup.Find(t.Context(), reqA) }()
		joined(t, c, 2)
		leave()
		r := <-left
		require.Equal(t, cache.OutcomeError, r.Outcome)
		require.ErrorIs(t, r.Err, context.Canceled)

		require.NoError(t, loadCtx.Err(), "the load goes on")
		require.Equal(t, "value", loadCtx.Value(valueKey{}))
		_, bounded := loadCtx.Deadline()
		require.True(t, bounded)
		src.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
		require.True(t, (<-stayed).Stored)
	})
}

// joined waits until so many wait for the load of reqA.
func joined(t *testing.T, c *cache.Cache, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return c.Waiters(reqA.Key) == n }, 10*time.Second, time.Millisecond)
}

func TestALoadEndsWithItsLastWaiter(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := newGate()
		lookup := newLookup(t, c, cache.LookupOptions{Source: src})
		ctx, leave := context.WithCancel(t.Context())
		results := make(chan cache.Result)
		for range 3 {
			go func() { results <- lookup.Find(ctx, reqA) }()
		}
		loadCtx := <-src.entered
		joined(t, c, 3)
		leave()
		for range 3 {
			require.ErrorIs(t, (<-results).Err, context.Canceled)
		}
		<-loadCtx.Done()
		requireNothingStored(t, c, reqA.Key) // and the lease is free at once
		require.EqualValues(t, 1, src.loads.Load())
	})
}
