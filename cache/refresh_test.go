// Records that are asked for anew before they expire.

package cache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// loaded waits until a source has been asked so often.
func loaded(t *testing.T, src *source, n int32) {
	t.Helper()
	require.Eventually(t, func() bool { return src.loads.Load() == n }, 10*time.Second, time.Millisecond)
}

func TestARefreshThatFailsIsNotRepeatedAtEveryHit(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := answering(cache.Loaded{}, errExpected)
		l := newLookup(t, c, cache.LookupOptions{Source: src})
		require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Minute))
		l.Find(t.Context(), reqA)
		loaded(t, src, 1)
		for range 1000 {
			r := l.Find(t.Context(), reqA)
			require.True(t, r.OK())
		}
		require.LessOrEqual(t, src.loads.Load(), int32(2))
	})
}

// A short-lived answer is about its own record alone.
func TestAShortLivedAnswerLeavesTheRefreshOfOthersOn(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := &source{load: func(_ context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
			if req.Key == "key:short" {
				return cache.Loaded{Record: decode(t, `{"n":1}`), MaxTTL: time.Second}, nil
			}
			return cache.Loaded{Record: decode(t, `{"n":2}`)}, nil
		}}
		l := newLookup(t, c, cache.LookupOptions{Source: src})
		require.True(t, l.Find(t.Context(), cache.Request{Key: "key:short"}).Stored)
		require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Minute))
		require.Equal(t, cache.OutcomeHit, l.Find(t.Context(), reqA).Outcome)
		loaded(t, src, 2)
		require.Eventually(t, func() bool {
			r := l.Find(t.Context(), reqA)
			return r.Record.Text() == `{"n":2}` && r.TTL > 50*time.Minute
		}, 10*time.Second, time.Millisecond)
	})
}

// What is capped has its last tenth late, whichever process filled it.
func TestACappedRecordIsRefreshedInItsOwnLastTenth(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func() cache.Loaded{
		"by its source":  func() cache.Loaded { return cache.Loaded{Record: decode(t, `{"n":1}`), MaxTTL: time.Minute} },
		"by its own end": func() cache.Loaded { return cache.Loaded{Record: expiringAt(t, time.Now().Add(time.Minute))} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			src := &source{load: func(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) { return answer(), nil }}
			options := cache.LookupOptions{Source: src, TTL: 24 * time.Hour, ExpiresAt: true}
			here, there := newCache(t, &wrapped{Store: store}), newCache(t, &wrapped{Store: store})
			require.True(t, newLookup(t, here, options).Find(t.Context(), reqA).Stored)
			for _, c := range []*cache.Cache{here, there} {
				l := newLookup(t, c, options)
				for range 100 {
					require.Equal(t, cache.OutcomeHit, l.Find(t.Context(), reqA).Outcome)
				}
			}
			require.EqualValues(t, 1, src.loads.Load())
			// with six seconds less than a tenth left
			entry := get(t, here, reqA.Key)
			_, err := store.Touch(t.Context(), reqA.Key, entry.Record, 5*time.Second)
			require.NoError(t, err)
			newLookup(t, there, options).Find(t.Context(), reqA)
			loaded(t, src, 2)
		})
	}
}

// A node whose copy has the old TTL sees the new one before it asks.
func TestARecordThatWasRefreshedElsewhereIsNotRefreshedAgain(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	src := saying(t, `{"n":1}`)
	var fleet []*cache.Lookup
	var caches []*cache.Cache
	for range 2 {
		c := newCache(t, &flaky{Store: store}) // which does not report writes
		c.EnableNear(near.Options{})
		caches = append(caches, c)
		fleet = append(fleet, newLookup(t, c, cache.LookupOptions{Source: src}))
	}
	require.NoError(t, store.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Minute))
	for _, c := range caches { // both have copies with little time left
		l := newLookup(t, c, cache.LookupOptions{Name: "without a source"})
		require.Equal(t, cache.OutcomeHit, l.Find(t.Context(), reqA).Outcome)
		require.Equal(t, "near", l.Find(t.Context(), reqA).From)
	}
	fleet[0].Find(t.Context(), reqA)
	loaded(t, src, 1)
	require.Eventually(t, func() bool { return get(t, caches[0], reqA.Key).TTL(time.Now()) > 50*time.Minute }, 10*time.Second, time.Millisecond)
	r := fleet[1].Find(t.Context(), reqA)
	require.Equal(t, "near", r.From)
	require.Less(t, r.TTL, 2*time.Minute)
	require.Eventually(t, func() bool { // the copy is replaced by what the store has
		r := fleet[1].Find(t.Context(), reqA)
		return r.TTL > 50*time.Minute
	}, 10*time.Second, time.Millisecond)
	require.EqualValues(t, 1, src.loads.Load())
}
