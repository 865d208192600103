// How many loads a lookup has under way, and what becomes of the others.

package cache_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func findKey(ctx context.Context, l *cache.Lookup, i int) cache.Result {
	return l.Find(ctx, cache.Request{Key: fmt.Sprint("key:", i)})
}

func TestNoMoreLoadsThanAllowedAreUnderWay(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		const allowed, n = 3, 50
		var now, most atomic.Int32
		record := decode(t, `{}`)
		src := &source{load: func(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) {
			for in := now.Add(1); ; {
				if seen := most.Load(); in <= seen || most.CompareAndSwap(seen, in) {
					break
				}
			}
			defer now.Add(-1)
			<-time.After(time.Millisecond)
			return cache.Loaded{Record: record}, nil
		}}
		l := newLookup(t, c, cache.LookupOptions{Source: src, MaxConcurrent: allowed})
		results := make(chan cache.Result)
		for i := range n {
			go func() { results <- findKey(t.Context(), l, i) }()
		}
		for range n {
			r := <-results
			require.True(t, r.Stored, "%v", r.Err)
		}
		require.EqualValues(t, allowed, most.Load())
	})
}

func TestALookupIsNotDelayedByTheLoadsOfAnother(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := newGate()
		busy := newLookup(t, c, cache.LookupOptions{Name: "busy", Source: src, MaxConcurrent: 1})
		other := newLookup(t, c, cache.LookupOptions{Name: "other", Source: saying(t, `{}`), MaxConcurrent: 1})
		ctx, leave := context.WithCancel(t.Context())
		results := make(chan cache.Result)
		for i := range 20 {
			go func() { results <- findKey(ctx, busy, i) }()
		}
		<-src.entered
		require.True(t, findKey(t.Context(), other, 100).Stored)
		leave()
		for range 20 {
			require.ErrorIs(t, (<-results).Err, context.Canceled)
		}
	})
}

func TestALoadThatWaitsTooLongIsAnError(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		const load, lookup = 50 * time.Millisecond, 20 * time.Millisecond
		src := newGate()
		l := newLookup(t, c, cache.LookupOptions{Source: src, MaxConcurrent: 1, LoadTimeout: load, LookupTimeout: lookup})
		results := make(chan cache.Result)
		started := time.Now()
		for i := range 5 {
			go func() { results <- findKey(t.Context(), l, i) }()
		}
		for range 5 {
			require.Equal(t, cache.OutcomeError, (<-results).Outcome)
		}
		require.Less(t, time.Since(started), 10*(load+lookup))
	})
}

func TestALookupWithTooManyWaitingLoadsIsOverloaded(t *testing.T) {
	t.Parallel()
	const waiting = 1024
	c := newCache(t, newStore(t))
	src := newGate()
	l := newLookup(t, c, cache.LookupOptions{Source: src, MaxConcurrent: 1, LoadTimeout: time.Minute})
	ctx, leave := context.WithCancel(t.Context())
	results := make(chan cache.Result, waiting+1)
	for i := range waiting + 1 {
		go func() { results <- findKey(ctx, l, i) }()
	}
	require.Eventually(t, func() bool { return l.WaitingLoads() == waiting }, 10*time.Second, time.Millisecond)
	r := findKey(t.Context(), l, -1)
	require.Equal(t, cache.OutcomeError, r.Outcome)
	require.ErrorIs(t, r.Err, cache.ErrOverloaded)
	leave()
	for range waiting + 1 {
		require.ErrorIs(t, (<-results).Err, context.Canceled)
	}
}

func TestBrokenLoadsGiveTheirPlacesBack(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := &source{load: func(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) { panic(errExpected) }}
		l := newLookup(t, c, cache.LookupOptions{Source: src, MaxConcurrent: 1})
		for range 5 {
			r := l.Find(t.Context(), reqA)
			require.ErrorContains(t, r.Err, "panicked")
			requireNoLease(t, c, reqA.Key)
		}
		require.EqualValues(t, 5, src.loads.Load())
	})
}
