// What is used when neither the store nor the source can tell, and what
// corrects it.

package cache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// flaky is a watched store that can be out of reach.
type flaky struct {
	cache.Store
	gone atomic.Bool
	sink near.Sink
}

func (f *flaky) Watch(_ string, sink near.Sink) { f.sink = sink; sink.SetTrust(near.Coherent) }

// leave makes the store unreachable, as its tracker notices.
func (f *flaky) leave() { f.gone.Store(true); f.sink.SetTrust(near.None) }

func (f *flaky) Get(ctx context.Context, key string) (cache.Entry, error) {
	if f.gone.Load() {
		return cache.Entry{}, cache.ErrUnavailable
	}
	return f.Store.Get(ctx, key)
}

func (f *flaky) GetOrAcquire(ctx context.Context, key string, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	if f.gone.Load() {
		return "", cache.Entry{}, cache.ErrUnavailable
	}
	return f.Store.GetOrAcquire(ctx, key, ttl, tagged)
}

// staleFixture is a lookup with one copied record, whose store and source can
// be told what to do.
type staleFixture struct {
	*cache.Lookup
	cache  *cache.Cache
	store  *flaky
	source *source
	answer atomic.Pointer[cache.Loaded] // nil: the source fails
}

func newStaleFixture(t *testing.T, options cache.LookupOptions) *staleFixture {
	t.Helper()
	f := &staleFixture{store: &flaky{Store: newStore(t)}}
	f.source = &source{load: func(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) {
		if loaded := f.answer.Load(); loaded != nil {
			return *loaded, nil
		}
		return cache.Loaded{}, errExpected
	}}
	f.cache = newCache(t, f.store)
	f.cache.EnableNear(near.Options{})
	options.Source, options.StaleIfError = f.source, time.Hour
	f.Lookup = newLookup(t, f.cache, options)
	require.NoError(t, f.cache.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Hour))
	require.Equal(t, cache.OutcomeHit, f.find(t).Outcome)
	return f
}

func (f *staleFixture) find(t *testing.T) cache.Result { return f.Find(t.Context(), reqA) }

func TestTheSourceIsAskedBeforeAStaleRecordIsUsed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer  *cache.Loaded
		outcome cache.Outcome
		text    string
	}{
		"the source fails":     {nil, cache.OutcomeStale, `{"n":1}`},
		"the source finds it":  {&cache.Loaded{Record: decode(t, `{"n":2}`)}, cache.OutcomeMiss, `{"n":2}`},
		"the source has none":  {&cache.Loaded{Record: cache.AbsentRecord()}, cache.OutcomeAbsent, `null`},
		"the source refuses":   {&cache.Loaded{Record: cache.DeniedRecord(403)}, cache.OutcomeDenied, `{"denied":403}`},
		"the source redirects": {&cache.Loaded{Response: "login"}, cache.OutcomeAbsent, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newStaleFixture(t, cache.LookupOptions{})
			f.store.leave()
			f.answer.Store(test.answer)
			r := f.find(t)
			require.Equal(t, test.outcome, r.Outcome)
			if test.text != "" {
				require.Equal(t, test.text, r.Record.Text())
			}
			require.EqualValues(t, 1, f.source.loads.Load())
		})
	}
}

// A request that this node refused is not admitted by it afterwards with an
// older record, whichever store or source refused it.
func TestARefusalCorrectsWhatIsKeptForStaleUse(t *testing.T) {
	t.Parallel()
	source := func(loaded cache.Loaded) func(*testing.T, *staleFixture) {
		return func(t *testing.T, f *staleFixture) {
			f.answer.Store(&loaded)
			require.NotEqual(t, cache.OutcomeError, f.find(t).Outcome)
			f.answer.Store(nil)
		}
	}
	store := func(record *cache.Record) func(*testing.T, *staleFixture) {
		return func(t *testing.T, f *staleFixture) {
			f.store.gone.Store(false) // it answers, but writes are not reported
			if record == nil {
				_, err := f.store.Store.Delete(t.Context(), reqA.Key)
				require.NoError(t, err)
				_, err = f.cache.Get(t.Context(), reqA.Key)
				require.NoError(t, err)
			} else {
				require.NoError(t, f.store.Store.Set(t.Context(), reqA.Key, record, time.Hour))
			}
			r := f.find(t)
			require.False(t, r.OK())
			f.store.leave()
		}
	}
	for name, say := range map[string]func(*testing.T, *staleFixture){
		"the source has none":             source(cache.Loaded{Record: cache.AbsentRecord()}),
		"the source refuses":              source(cache.Loaded{Record: cache.DeniedRecord(403)}),
		"the source redirects":            source(cache.Loaded{Response: "login"}),
		"the source has none, no-store":   source(cache.Loaded{Record: cache.AbsentRecord(), NoStore: true}),
		"the store has none":              store(nil),
		"the store knows that it is none": store(cache.AbsentRecord()),
		"the store refuses":               store(cache.DeniedRecord(403)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newStaleFixture(t, cache.LookupOptions{})
			f.store.leave()
			require.Equal(t, cache.OutcomeStale, f.find(t).Outcome)
			say(t, f)
			require.Equal(t, cache.OutcomeError, f.find(t).Outcome)
		})
	}
	t.Run("the source has a newer record", func(t *testing.T) {
		t.Parallel()
		f := newStaleFixture(t, cache.LookupOptions{})
		f.store.leave()
		source(cache.Loaded{Record: decode(t, `{"n":2}`)})(t, f)
		r := f.find(t)
		require.Equal(t, cache.OutcomeStale, r.Outcome)
		require.Equal(t, `{"n":2}`, r.Record.Text())
	})
	t.Run("a load from before an invalidation", func(t *testing.T) {
		t.Parallel()
		f := newStaleFixture(t, cache.LookupOptions{})
		f.store.leave()
		f.answer.Store(&cache.Loaded{Record: decode(t, `{"n":2}`)})
		f.source.before = func() { _, _ = f.cache.Delete(t.Context(), reqA.Key) }
		require.Equal(t, cache.OutcomeMiss, f.find(t).Outcome)
		f.answer.Store(nil)
		require.Equal(t, cache.OutcomeError, f.find(t).Outcome)
	})
}

// A store of this process keeps expired records itself.
func TestARefusalCorrectsWhatTheStoreKeepsForStaleUse(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]cache.Loaded{
		"absent":   {Record: cache.AbsentRecord(), NoStore: true},
		"denied":   {Record: cache.DeniedRecord(403), NoStore: true},
		"redirect": {Response: "login"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, newStore(t))
			src := answering(cache.Loaded{}, errExpected)
			l := newLookup(t, c, cache.LookupOptions{Source: src, StaleIfError: time.Hour})
			require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Millisecond))
			require.Eventually(t, func() bool {
				return l.Find(t.Context(), reqA).Outcome == cache.OutcomeStale
			}, 10*time.Second, time.Millisecond)
			failing := src.load
			src.load = func(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) { return refusal, nil }
			r := l.Find(t.Context(), reqA)
			require.False(t, r.OK())
			src.load = failing
			require.Equal(t, cache.OutcomeError, l.Find(t.Context(), reqA).Outcome)
		})
	}
}

// An answer that could not be stored has no versions of its tags, so that nothing
// would end it.
func TestATaggedAnswerIsNotKeptForStaleUse(t *testing.T) {
	t.Parallel()
	f := newStaleFixture(t, cache.LookupOptions{Tags: func(cache.Request, *cache.Record) []string { return []string{"user:1"} }})
	f.store.leave()
	f.answer.Store(&cache.Loaded{Record: decode(t, `{"n":2}`)})
	require.Equal(t, cache.OutcomeMiss, f.find(t).Outcome)
	require.NoError(t, f.cache.DropTag(t.Context(), "user:1"))
	f.answer.Store(nil)
	r := f.find(t)
	require.Equal(t, cache.OutcomeError, r.Outcome, "%v", r.Record)
}
