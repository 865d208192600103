package cache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

type checked struct {
	*source
	valid atomic.Bool
}

func (s *checked) Current(_ context.Context, _ cache.Request, record *cache.Record, _ time.Time) (*cache.Record, bool) {
	return record, s.valid.Load()
}

// replacing is a source that uses another record than the cached one.
type replacing struct {
	*source
	use *cache.Record
}

func (s *replacing) Current(context.Context, cache.Request, *cache.Record, time.Time) (*cache.Record, bool) {
	return s.use, true
}

func TestTheSourcesCurrentRecordReplacesTheCachedOne(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := &replacing{source: saying(t, `{"n":1}`)}
		lookup := newLookup(t, c, cache.LookupOptions{Source: src})
		require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":2}`), time.Hour))
		for outcome, use := range map[cache.Outcome]string{
			cache.OutcomeHit: `{"n":3}`, cache.OutcomeAbsent: `null`, cache.OutcomeDenied: `{"denied":403}`,
		} {
			src.use = decode(t, use)
			r := lookup.Find(t.Context(), reqA)
			require.Equal(t, outcome, r.Outcome)
			require.True(t, r.Hit)
			require.Equal(t, use, r.Record.Text())
			requireStored(t, c, reqA.Key, `{"n":2}`)
		}
	})
}

func TestARecordThatIsNoLongerValidIsLoadedAgain(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := &checked{source: saying(t, `{"n":1}`)}
		src.valid.Store(true)
		lookup := newLookup(t, c, cache.LookupOptions{Source: src})
		require.Equal(t, cache.OutcomeMiss, lookup.Find(t.Context(), reqA).Outcome)
		require.Equal(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome)

		src.valid.Store(false)
		for _, text := range []string{`{"n":2}`, `null`, `{"n":3}`} {
			before := get(t, c, reqA.Key).Record.Text()
			src.load = func(_ context.Context, _ cache.Request, old *cache.Record) (cache.Loaded, error) {
				assert.Equal(t, before, old.Text())
				return cache.Loaded{Record: decode(t, text)}, nil
			}
			r := lookup.Find(t.Context(), reqA)
			require.False(t, r.Hit)
			require.True(t, r.Stored)
			requireStored(t, c, reqA.Key, text)
		}
	})
}
