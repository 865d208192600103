package cache_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func expiringAt(t *testing.T, at time.Time) *cache.Record {
	t.Helper()
	return decode(t, fmt.Sprintf(`{"expires_at":%q}`, at.Format(time.RFC3339Nano)))
}

func TestARecordPastItsTimeIsMissing(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		past := expiringAt(t, time.Now().Add(-time.Second))
		require.NoError(t, c.Set(t.Context(), reqA.Key, past, time.Hour))
		aware := newLookup(t, c, cache.LookupOptions{ExpiresAt: true})
		unaware := newLookup(t, c, cache.LookupOptions{})
		r := aware.Find(t.Context(), reqA)
		require.Equal(t, cache.OutcomeAbsent, r.Outcome)
		require.False(t, r.Hit)
		require.Equal(t, cache.OutcomeHit, unaware.Find(t.Context(), reqA).Outcome)

		soon := expiringAt(t, time.Now().Add(100*time.Millisecond))
		require.NoError(t, c.Set(t.Context(), reqA.Key, soon, time.Hour))
		require.Eventually(t, func() bool {
			return aware.Find(t.Context(), reqA).Outcome == cache.OutcomeAbsent
		}, 10*time.Second, time.Millisecond)
	})
}

func TestARecordPastItsTimeIsReplacedFromTheSource(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		past := expiringAt(t, time.Now().Add(-time.Second))
		require.NoError(t, c.Set(t.Context(), reqA.Key, past, time.Hour))
		fresh := expiringAt(t, time.Now().Add(time.Minute))
		src := &source{load: func(_ context.Context, _ cache.Request, old *cache.Record) (cache.Loaded, error) {
			assert.Equal(t, past.Text(), old.Text())
			return cache.Loaded{Record: fresh}, nil
		}}
		lookup := newLookup(t, c, cache.LookupOptions{Source: src, ExpiresAt: true})
		r := lookup.Find(t.Context(), reqA)
		require.Equal(t, cache.OutcomeMiss, r.Outcome)
		require.True(t, r.Stored)
		require.LessOrEqual(t, r.TTL, time.Minute, "it is not kept beyond its time")
		stored, _ := get(t, c, reqA.Key).Record.Field(cache.DefaultExpiryField)
		ends, _ := fresh.Field(cache.DefaultExpiryField)
		require.Equal(t, ends.Text(), stored.Text())
		require.LessOrEqual(t, get(t, c, reqA.Key).TTL(time.Now()), time.Minute)
	})
}

func TestARecordPastItsTimeFromTheSourceIsAbsent(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		past := expiringAt(t, time.Now().Add(-time.Second))
		lookup := newLookup(t, c, cache.LookupOptions{Source: answering(cache.Loaded{Record: past}, nil), ExpiresAt: true})
		r := lookup.Find(t.Context(), reqA)
		require.Equal(t, cache.OutcomeAbsent, r.Outcome)
		require.False(t, r.OK())
		require.False(t, r.Stored)
		requireNothingStored(t, c, reqA.Key)
	})
}
