package cache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestUsingASessionExtendsIt(t *testing.T) {
	t.Parallel()
	store := &wrapped{Store: newStore(t)}
	c := newCache(t, store)
	lookup := newLookup(t, c, cache.LookupOptions{Sliding: true, ExpiresAt: true})
	set := func(record *cache.Record, ttl time.Duration) {
		require.NoError(t, c.Set(t.Context(), reqA.Key, record, ttl))
	}
	lookups := func() {
		for range 100 {
			require.NotEqual(t, cache.OutcomeError, lookup.Find(t.Context(), reqA).Outcome)
		}
	}

	set(decode(t, `{"n":1}`), 55*time.Minute)
	lookups()
	require.Zero(t, store.called("touch"), "a tenth of the TTL is not gone yet")

	set(decode(t, `{"n":1}`), 53*time.Minute)
	require.Equal(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome)
	require.Eventually(t, func() bool {
		return get(t, c, reqA.Key).TTL(time.Now()) > 59*time.Minute
	}, 10*time.Second, time.Millisecond)
	lookups()
	require.Equal(t, 1, store.called("touch"), "it was written a moment ago")

	for name, record := range map[string]*cache.Record{
		"an absence":                   cache.AbsentRecord(),
		"a refusal":                    cache.DeniedRecord(403),
		"a record that ends by itself": expiringAt(t, time.Now().Add(10*time.Minute)),
	} {
		set(record, 10*time.Minute)
		lookups()
		require.Equal(t, 1, store.called("touch"), name)
	}

	set(expiringAt(t, time.Now().Add(30*time.Minute)), 10*time.Minute)
	lookups()
	require.Eventually(t, func() bool {
		return get(t, c, reqA.Key).TTL(time.Now()) > 29*time.Minute
	}, 10*time.Second, time.Millisecond)
	require.LessOrEqual(t, get(t, c, reqA.Key).TTL(time.Now()), 30*time.Minute, "not beyond its own time")
}

func TestSlidingDelaysNoLookup(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	store := &wrapped{Store: newStore(t), before: func(_ context.Context, call string) error {
		if call == "touch" {
			<-release
		}
		return nil
	}}
	c := newCache(t, store)
	lookup := newLookup(t, c, cache.LookupOptions{Sliding: true})
	require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{}`), time.Minute))
	for range 100 {
		require.Equal(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome)
	}
	close(release)
	require.Eventually(t, func() bool {
		return get(t, c, reqA.Key).TTL(time.Now()) > 59*time.Minute
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, store.called("touch"))
}

func TestALookupWithoutSlidingExtendsNothing(t *testing.T) {
	t.Parallel()
	store := &wrapped{Store: newStore(t)}
	c := newCache(t, store)
	lookup := newLookup(t, c, cache.LookupOptions{})
	require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{}`), time.Minute))
	require.Equal(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome)
	require.Zero(t, store.called("touch"))
}
