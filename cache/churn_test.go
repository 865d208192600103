package cache_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Lookups whose clients leave, invalidations and writes of this node and of others,
// and sources that fail or panic, all at once: every lookup has a result, and nothing
// is left behind.
func TestConcurrentFailuresAndInvalidationsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 3} {
		store := newStore(t)
		var calm atomic.Bool
		c := newCache(t, &wrapped{Store: store, before: func(context.Context, string) error {
			if rand.IntN(50) == 0 && !calm.Load() {
				return cache.ErrUnavailable
			}
			runtime.Gosched()
			return nil
		}})
		src := &source{load: func(ctx context.Context, _ cache.Request, _ *cache.Record) (cache.Loaded, error) {
			runtime.Gosched()
			switch rand.IntN(8) {
			case 0:
				return cache.Loaded{}, errExpected
			case 1:
				panic("expected")
			case 2:
				return cache.Loaded{Record: cache.AbsentRecord()}, ctx.Err()
			case 3:
				return cache.Loaded{Record: decode(t, `{"n":3}`), NoStore: true}, ctx.Err()
			case 4:
				return cache.Loaded{Record: decode(t, `{"n":4}`), Private: true, Response: 1}, ctx.Err()
			}
			return cache.Loaded{Record: decode(t, `{"n":1}`)}, ctx.Err()
		}}
		lookup := newLookup(t, c, cache.LookupOptions{Source: src, MaxConcurrent: most, Tags: func(cache.Request, *cache.Record) []string { return []string{"tag"} }})
		keys := make([]string, 3)
		for i := range keys {
			keys[i] = fmt.Sprint("key:", i)
		}
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				for range 400 {
					key := keys[rand.IntN(len(keys))]
					switch rand.IntN(12) {
					case 0:
						_, _ = c.Delete(t.Context(), key)
					case 1:
						_, _ = store.Delete(t.Context(), key)
					case 2:
						assert.NoError(t, store.Set(t.Context(), key, decode(t, `{"n":2}`), time.Hour))
					case 3:
						assert.NoError(t, c.DropTag(t.Context(), "tag"))
					case 4:
						ctx, leave := context.WithCancel(t.Context())
						go leave()
						lookup.Find(ctx, cache.Request{Key: key})
					case 5:
						ctx, leave := context.WithCancel(t.Context())
						leave()
						lookup.Warm(ctx, cache.Request{Key: key})
					default:
						r := lookup.Find(t.Context(), cache.Request{Key: key})
						if r.Err != nil {
							assert.NotContains(t, r.Err.Error(), "without a result")
							assert.NotErrorIs(t, r.Err, context.Canceled, "another client has left")
						} else {
							assert.NotEqual(t, cache.OutcomeError, r.Outcome)
						}
					}
				}
			})
		}
		workers.Wait()
		calm.Store(true)
		for _, key := range keys {
			require.Eventually(t, func() bool {
				entry, err := store.Get(t.Context(), key)
				require.NoError(t, err)
				old := entry.Record
				if old == nil {
					old = entry.Old
				}
				token, _, err := store.Acquire(t.Context(), key, old, time.Hour, false)
				require.NoError(t, err)
				return token != ""
			}, 10*time.Second, time.Millisecond, "a lease is left behind")
			require.Eventually(t, func() bool { return c.Waiters(key) == 0 }, 10*time.Second, time.Millisecond)
		}
		require.Zero(t, lookup.WaitingLoads())
		require.Eventually(t, func() bool {
			r := lookup.Find(t.Context(), cache.Request{Key: "key:last"})
			return r.Stored || r.Hit
		}, 10*time.Second, time.Millisecond, "the slots were given back")
	}
}
