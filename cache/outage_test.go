package cache_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestAStoreOutOfReach(t *testing.T) {
	t.Parallel()
	unavailable := fmt.Errorf("dialing: %w", cache.ErrUnavailable)
	for name, test := range map[string]struct {
		stored string // for another question
		fails  string
		calls  map[string]int
	}{
		"from the start":  {"", "get", map[string]int{"get": 1}},
		"before the load": {otherAnswer, "acquire", map[string]int{"get": 1, "acquire": 1}},
		"during the load": {"", "fill", map[string]int{"get": 1, "acquire": 0, "fill": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &wrapped{Store: newStore(t), before: func(_ context.Context, call string) error {
				if call == test.fails {
					return unavailable
				}
				return nil
			}}
			c := newCache(t, store)
			storeOther(t, store, test.stored)
			r := newLookup(t, c, cache.LookupOptions{Source: saying(t, `{"n":1}`)}).Find(t.Context(), reqA)
			require.Equal(t, cache.OutcomeMiss, r.Outcome)
			require.True(t, r.OK())
			require.False(t, r.Stored)
			require.Zero(t, r.TTL)
			for call, want := range test.calls {
				require.Equal(t, want, store.called(call), call)
			}
			entry, err := store.Store.Get(t.Context(), reqA.Key)
			require.NoError(t, err)
			if test.stored != "" {
				require.Equal(t, test.stored, entry.Record.Text())
			} else {
				require.Nil(t, entry.Record)
			}
		})
	}
	t.Run("without a source", func(t *testing.T) {
		t.Parallel()
		c := newCache(t, &wrapped{Store: newStore(t), before: func(context.Context, string) error { return unavailable }})
		r := newLookup(t, c, cache.LookupOptions{}).Find(t.Context(), reqA)
		require.Equal(t, cache.OutcomeError, r.Outcome)
		require.ErrorIs(t, r.Err, cache.ErrUnavailable)
		require.False(t, r.OK())
	})
}

// otherAnswer is what a source answered to another question.
const otherAnswer = `{"n":0,"_source":"00000000000000bb"}`

// storeOther stores an answer to another question, unless it is "".
func storeOther(t *testing.T, store *wrapped, text string) {
	t.Helper()
	if text != "" {
		require.NoError(t, store.Store.Set(t.Context(), reqA.Key, decode(t, text), time.Hour))
	}
}

func TestAStoredValueThatIsNoRecordIsAnError(t *testing.T) {
	t.Parallel()
	c := newCache(t, &wrapped{Store: newStore(t), before: func(context.Context, string) error {
		return fmt.Errorf("getting: %w", cache.ErrInvalidRecord)
	}})
	src := saying(t, `{"n":1}`)
	r := newLookup(t, c, cache.LookupOptions{Source: src}).Find(t.Context(), reqA)
	require.Equal(t, cache.OutcomeError, r.Outcome)
	require.ErrorIs(t, r.Err, cache.ErrInvalidRecord)
	require.Zero(t, src.loads.Load(), "a record that cannot be read must not be replaced by the source's")
}

// A store that does not answer costs a request its lookup timeout, once, on
// whichever round trip that is.
func TestAStoreThatStallsCostsTheLookupTimeoutOnce(t *testing.T) {
	t.Parallel()
	const timeout = 50 * time.Millisecond
	for stalls, stored := range map[string]string{"get": "", "acquire": otherAnswer, "fill": ""} {
		t.Run(stalls, func(t *testing.T) {
			t.Parallel()
			store := &wrapped{Store: newStore(t), before: func(ctx context.Context, call string) error {
				if call != stalls {
					return nil
				}
				<-ctx.Done()
				return fmt.Errorf("%w: %w", cache.ErrUnavailable, ctx.Err())
			}}
			c := newCache(t, store)
			storeOther(t, store, stored)
			lookup := newLookup(t, c, cache.LookupOptions{Source: saying(t, `{"n":1}`), LookupTimeout: timeout, LoadTimeout: time.Hour})
			ctx, leave := context.WithCancel(t.Context())
			started := time.Now()
			r := lookup.Find(ctx, reqA)
			leave()
			require.GreaterOrEqual(t, time.Since(started), timeout)
			require.Less(t, time.Since(started), 100*timeout)
			require.Equal(t, cache.OutcomeMiss, r.Outcome)
			require.False(t, r.Stored)
			require.Equal(t, 1, store.called(stalls))
		})
	}
	t.Run("without a source", func(t *testing.T) {
		t.Parallel()
		c := newCache(t, &wrapped{Store: newStore(t), before: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return fmt.Errorf("%w: %w", cache.ErrUnavailable, ctx.Err())
		}})
		r := newLookup(t, c, cache.LookupOptions{LookupTimeout: timeout}).Find(t.Context(), reqA)
		require.Equal(t, cache.OutcomeError, r.Outcome)
		require.ErrorIs(t, r.Err, cache.ErrUnavailable)
	})
}

// The request may end while its store is asked; the connection is not given up
// for that.
func TestALeavingClientDoesNotCutARoundTripShort(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	store := &wrapped{Store: newStore(t), before: func(trip context.Context, _ string) error {
		leave()
		return trip.Err()
	}}
	c := newCache(t, store)
	require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{}`), time.Hour))
	require.Equal(t, cache.OutcomeHit, newLookup(t, c, cache.LookupOptions{}).Find(ctx, reqA).Outcome)
}
