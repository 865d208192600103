package cache_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// refusing is a store that carries out no invalidation while refuse is set.
type refusing struct {
	cache.Store
	refuse atomic.Bool
}

func (s *refusing) err() error {
	if s.refuse.Load() {
		return cache.ErrUnavailable
	}
	return nil
}

func (s *refusing) Delete(ctx context.Context, keys ...string) (int, error) {
	if err := s.err(); err != nil {
		return 0, err
	}
	return s.Store.Delete(ctx, keys...)
}

func (s *refusing) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	if err := s.err(); err != nil {
		return 0, err
	}
	return s.Store.DeletePrefix(ctx, prefix)
}

func (s *refusing) DropTag(ctx context.Context, tag string) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.DropTag(ctx, tag)
}

func (s *refusing) Watch(_ string, sink near.Sink) { sink.SetTrust(near.Coherent) }

// pendingCache is a cache with near copies, and two records that bear tags.
func pendingCache(t *testing.T) (*cache.Cache, *refusing) {
	t.Helper()
	store := &refusing{Store: newStore(t)}
	c := newCache(t, store)
	c.EnableNear(near.Options{})
	for key, tag := range map[string]string{"session:a": "user:a{}", "session:b": "user:b"} {
		token, _, err := store.Acquire(t.Context(), key, nil, time.Hour, true)
		require.NoError(t, err)
		filled, err := store.Fill(t.Context(), key, token, nil, decode(t, `{"n":1}`), []string{tag}, time.Hour)
		require.NoError(t, err)
		require.True(t, filled)
	}
	return c, store
}

// invalidations of session:a that concern no other.
var invalidations = map[string]func(ctx context.Context, c *cache.Cache) error{
	"key": func(ctx context.Context, c *cache.Cache) error { _, err := c.Delete(ctx, "session:a"); return err },
	"prefix": func(ctx context.Context, c *cache.Cache) error {
		_, err := c.DeletePrefix(ctx, "session:a")
		return err
	},
	"tag": func(ctx context.Context, c *cache.Cache) error { return c.DropTag(ctx, "user:a{}") },
}

func requireDone(t *testing.T, c *cache.Cache) {
	t.Helper()
	require.Eventually(t, func() bool { return c.Pending().Total() == 0 }, 10*time.Second, time.Millisecond)
}

func TestRecordIsNotUsedWhileItsInvalidationIsPending(t *testing.T) {
	t.Parallel()
	for name, invalidate := range invalidations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, store := pendingCache(t)
			stored := newLookup(t, c, cache.LookupOptions{Name: "stored", KeyPrefix: "session:", StaleIfError: time.Hour})
			src := saying(t, `{"n":2}`)
			sourced := newLookup(t, c, cache.LookupOptions{Name: "sourced", KeyPrefix: "session:", Source: src,
				Tags: func(cache.Request, *cache.Record) []string { return []string{"user:a{}"} }})
			a, b := cache.Request{Key: "session:a", ID: "a"}, cache.Request{Key: "session:b", ID: "b"}
			for _, req := range []cache.Request{a, b} {
				stored.Find(t.Context(), req)
				require.Equal(t, "near", stored.Find(t.Context(), req).From)
			}
			require.Zero(t, c.Pending().Total())

			store.refuse.Store(true)
			var pending *cache.PendingError
			require.ErrorAs(t, invalidate(t.Context(), c), &pending)
			require.Equal(t, 1, pending.Undone)
			require.ErrorIs(t, pending, cache.ErrUnavailable)
			require.Equal(t, 1, c.Pending().Total())
			require.WithinDuration(t, time.Now(), c.Pending().Since, time.Minute)
			r := stored.Find(t.Context(), a)
			require.Equal(t, cache.OutcomeError, r.Outcome)
			require.ErrorIs(t, r.Err, cache.ErrPending)
			require.True(t, stored.Find(t.Context(), b).Hit, "it is not concerned")
			r = sourced.Find(t.Context(), a)
			require.Equal(t, cache.OutcomeMiss, r.Outcome)
			require.Equal(t, `{"n":2}`, r.Record.Text())
			require.Equal(t, cache.OutcomeMiss, sourced.Find(t.Context(), a).Outcome, "what was stored meanwhile is of no use either")
			_, err := c.Get(t.Context(), "session:b")
			require.NoError(t, err)

			store.refuse.Store(false)
			requireDone(t, c)
			require.Equal(t, cache.OutcomeAbsent, stored.Find(t.Context(), a).Outcome)
			require.True(t, stored.Find(t.Context(), b).Hit)
			require.True(t, c.Pending().Since.IsZero())
		})
	}
}

func TestInvalidationThatSucceedsLaterIsNotPendingAnyMore(t *testing.T) {
	t.Parallel()
	c, store := pendingCache(t)
	lookup := newLookup(t, c, cache.LookupOptions{KeyPrefix: "session:"})
	store.refuse.Store(true)
	for _, invalidate := range invalidations {
		require.Error(t, invalidate(t.Context(), c))
		require.Error(t, invalidate(t.Context(), c))
	}
	require.Equal(t, 3, c.Pending().Total())
	store.refuse.Store(false)
	for _, invalidate := range invalidations {
		require.NoError(t, invalidate(t.Context(), c))
	}
	require.Zero(t, c.Pending().Total())

	store.refuse.Store(true)
	_, err := c.Delete(t.Context(), "session:b")
	require.Error(t, err)
	require.NoError(t, c.Set(t.Context(), "session:b", decode(t, `{"n":3}`), time.Hour))
	require.Zero(t, c.Pending().Total(), "what it was to drop is overwritten")
	require.True(t, lookup.Find(t.Context(), cache.Request{Key: "session:b"}).Hit)
}

func TestEmptyInvalidationsAreNeverPending(t *testing.T) {
	t.Parallel()
	c, _ := pendingCache(t)
	require.Error(t, c.DropTag(t.Context(), ""))
	_, err := c.DeletePrefix(t.Context(), "")
	require.Error(t, err)
	_, err = c.Delete(t.Context())
	require.NoError(t, err)
	require.Zero(t, c.Pending().Total())
}

func TestPendingInvalidationsOutliveTheirCache(t *testing.T) {
	t.Parallel()
	place := cache.NewPending(nil)
	shared := newStore(t)
	open := func() (*cache.Cache, *refusing) {
		store := &refusing{Store: keptOpen{shared}}
		c := cache.New(store, cache.NewStats())
		c.SharePending(place)
		return c, store
	}
	t.Cleanup(func() { require.NoError(t, shared.Close()) })
	require.NoError(t, shared.Set(t.Context(), "session:a", decode(t, `{}`), time.Hour))
	old, store := open()
	store.refuse.Store(true)
	_, err := old.Delete(t.Context(), "session:a")
	require.Error(t, err)

	next, nextStore := open()
	nextStore.refuse.Store(true)
	require.NoError(t, old.Close())
	require.Equal(t, 1, next.Pending().Total())
	require.ErrorIs(t, newLookup(t, next, cache.LookupOptions{}).Find(t.Context(), cache.Request{Key: "session:a"}).Err, cache.ErrPending)
	nextStore.refuse.Store(false)
	requireDone(t, next)
	entry, err := shared.Get(t.Context(), "session:a")
	require.NoError(t, err)
	require.Nil(t, entry.Record)

	// the last cache of a place tries once more when it is closed
	require.NoError(t, shared.Set(t.Context(), "session:a", decode(t, `{}`), time.Hour))
	nextStore.refuse.Store(true)
	require.Error(t, next.DropTag(t.Context(), "tag"))
	_, err = next.Delete(t.Context(), "session:a")
	require.Error(t, err)
	nextStore.refuse.Store(false)
	require.NoError(t, next.Close())
	require.Zero(t, place.Stats().Total())
	entry, err = shared.Get(t.Context(), "session:a")
	require.NoError(t, err)
	require.Nil(t, entry.Record)

	// what a closed cache is asked for is left to the next one
	_, err = next.Delete(t.Context(), "session:a")
	require.NoError(t, err, "this store stays open")
	nextStore.refuse.Store(true)
	_, err = next.Delete(t.Context(), "session:a")
	require.Error(t, err)
	require.Equal(t, 1, place.Stats().Total())
	third, _ := open()
	requireDone(t, third)
	require.NoError(t, third.Close())
}

// keptOpen is a store that outlives the caches over it.
type keptOpen struct{ cache.Store }

func (keptOpen) Close() error { return nil }

// More than can be noted one by one is not forgotten: everything that lookups
// use is dropped.
func TestTooManyPendingInvalidationsConcernEverything(t *testing.T) {
	t.Parallel()
	c, store := pendingCache(t)
	lookup := newLookup(t, c, cache.LookupOptions{KeyPrefix: "session:"})
	req := cache.Request{Key: "session:a", ID: "a"}
	require.True(t, lookup.Find(t.Context(), req).Hit)
	store.refuse.Store(true)
	keys := make([]string, 60_000)
	for i := range keys {
		keys[i] = fmt.Sprint("session:x", i)
	}
	keys = append(keys, "elsewhere")
	require.NoError(t, store.Set(t.Context(), "elsewhere", decode(t, `{}`), time.Hour))
	_, err := c.Delete(t.Context(), keys...)
	require.Error(t, err)
	require.True(t, c.Pending().All)
	require.Less(t, c.Pending().Total(), 10)
	require.ErrorIs(t, lookup.Find(t.Context(), req).Err, cache.ErrPending)
	require.Error(t, c.DropTag(t.Context(), "user:b"))
	other := newLookup(t, c, cache.LookupOptions{Name: "other", KeyPrefix: "file:"})
	require.ErrorIs(t, other.Find(t.Context(), cache.Request{Key: "file:1"}).Err, cache.ErrPending)

	store.refuse.Store(false)
	requireDone(t, c)
	require.False(t, c.Pending().All)
	require.Equal(t, cache.OutcomeAbsent, lookup.Find(t.Context(), req).Outcome)
	require.Equal(t, cache.OutcomeAbsent, lookup.Find(t.Context(), cache.Request{Key: "session:b"}).Outcome)
	requireNothingStored(t, c, "elsewhere")
}
