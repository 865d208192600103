package cache_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestLookupOfWhatTheStoreHas(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := saying(t, `{"from":"source"}`)
		lookup := newLookup(t, c, cache.LookupOptions{Source: src})
		for text, want := range map[string]cache.Outcome{
			`{"name":"x"}`:   cache.OutcomeHit,
			`null`:           cache.OutcomeAbsent,
			`{"denied":403}`: cache.OutcomeDenied,
		} {
			require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, text), time.Hour)) // not in its last tenth, which would refresh it
			r := lookup.Find(t.Context(), reqA)
			require.Equal(t, want, r.Outcome)
			require.Equal(t, text, r.Record.Text())
			require.True(t, r.Hit)
			require.Equal(t, "memory", r.From)
			require.InDelta(t, 3600, r.TTL.Seconds(), 10)
			require.Equal(t, want == cache.OutcomeHit, r.OK())
			require.False(t, r.Stored)
			require.NoError(t, r.Err)
		}
		require.Zero(t, src.loads.Load())
	})
}

func TestLookupWithoutASource(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		r := newLookup(t, c, cache.LookupOptions{}).Find(t.Context(), reqA)
		require.Equal(t, cache.Result{Outcome: cache.OutcomeAbsent, Key: reqA.Key}, r)
		require.False(t, r.OK())
		requireNothingStored(t, c, reqA.Key)
	})
}

func TestLookupOfWhatTheSourceHas(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		for text, want := range map[string]struct {
			outcome, next cache.Outcome
			ttl           time.Duration
		}{
			`{"name":"x"}`:   {cache.OutcomeMiss, cache.OutcomeHit, time.Hour},
			`null`:           {cache.OutcomeAbsent, cache.OutcomeAbsent, time.Minute},
			`{"denied":451}`: {cache.OutcomeDenied, cache.OutcomeDenied, time.Minute},
		} {
			req := cache.Request{Key: "key:" + text, ID: text, Scope: "scope"}
			src := &source{load: func(_ context.Context, got cache.Request, old *cache.Record) (cache.Loaded, error) {
				assert.Equal(t, req, got)
				assert.Nil(t, old)
				return cache.Loaded{Record: decode(t, text)}, nil
			}}
			lookup := newLookup(t, c, cache.LookupOptions{Source: src, NegativeTTL: time.Minute})
			r := lookup.Find(t.Context(), req)
			require.Equal(t, want.outcome, r.Outcome)
			require.Equal(t, text, r.Record.Text())
			require.False(t, r.Hit)
			require.Empty(t, r.From)
			require.True(t, r.Stored)
			require.Equal(t, want.outcome == cache.OutcomeMiss, r.OK())
			require.InEpsilon(t, want.ttl, r.TTL, 0.051)
			require.InEpsilon(t, want.ttl, get(t, c, req.Key).TTL(time.Now()), 0.1)

			r = lookup.Find(t.Context(), req)
			require.Equal(t, want.next, r.Outcome)
			require.True(t, r.Hit)
			require.EqualValues(t, 1, src.loads.Load())
		}
	})
}

func TestTTLsAreSpread(t *testing.T) {
	t.Parallel()
	c := newCache(t, newStore(t))
	lookup := newLookup(t, c, cache.LookupOptions{Source: saying(t, `{}`)})
	shortest, longest := time.Duration(math.MaxInt64), time.Duration(0)
	for i := range 200 {
		r := lookup.Find(t.Context(), cache.Request{Key: fmt.Sprint(i)})
		shortest, longest = min(shortest, r.TTL), max(longest, r.TTL)
	}
	require.GreaterOrEqual(t, shortest, 57*time.Minute)
	require.Less(t, shortest, 59*time.Minute)
	require.Greater(t, longest, 61*time.Minute)
	require.LessOrEqual(t, longest, 63*time.Minute)
}

func TestWhatTheSourceKeepsOutOfTheCache(t *testing.T) {
	for name, test := range map[string]struct {
		loaded cache.Loaded
		err    error
		want   cache.Result
	}{
		"no-store": {
			loaded: cache.Loaded{Record: cache.DeniedRecord(403), NoStore: true},
			want:   cache.Result{Outcome: cache.OutcomeDenied, Record: cache.DeniedRecord(403)},
		},
		"a response": {
			loaded: cache.Loaded{Response: "redirect"},
			want:   cache.Result{Outcome: cache.OutcomeAbsent, Response: "redirect"},
		},
		"a cap too short to store for": {
			loaded: cache.Loaded{Record: cache.AbsentRecord(), MaxTTL: time.Microsecond},
			want:   cache.Result{Outcome: cache.OutcomeAbsent, Record: cache.AbsentRecord()},
		},
		"a failure": {
			err:  errExpected,
			want: cache.Result{Outcome: cache.OutcomeError, Err: &cache.SourceError{Err: errExpected}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c *cache.Cache) {
				src := answering(test.loaded, test.err)
				lookup := newLookup(t, c, cache.LookupOptions{Source: src})
				want := test.want
				want.Key = reqA.Key
				for range 2 {
					require.Equal(t, want, lookup.Find(t.Context(), reqA))
					requireNothingStored(t, c, reqA.Key)
				}
				require.EqualValues(t, 2, src.loads.Load())
			})
		})
	}
}

func TestASourceThatBreaksIsAnError(t *testing.T) {
	for name, load := range map[string]func() cache.Loaded{
		"panics":          func() cache.Loaded { panic(errExpected) },
		"answers nothing": func() cache.Loaded { return cache.Loaded{} },
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c *cache.Cache) {
				src := &source{load: func(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) { return load(), nil }}
				lookup := newLookup(t, c, cache.LookupOptions{Source: src})
				r := lookup.Find(t.Context(), reqA)
				require.Equal(t, cache.OutcomeError, r.Outcome)
				require.Error(t, r.Err)
				require.False(t, r.OK())
				requireNothingStored(t, c, reqA.Key)
			})
		})
	}
}

func TestTheSourceCapsTheTTL(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		lookup := newLookup(t, c, cache.LookupOptions{
			Source: answering(cache.Loaded{Record: decode(t, `{}`), MaxTTL: time.Minute}, nil),
		})
		r := lookup.Find(t.Context(), reqA)
		require.True(t, r.Stored)
		require.Equal(t, time.Minute, r.TTL)
		require.LessOrEqual(t, get(t, c, reqA.Key).TTL(time.Now()), time.Minute)
	})
}

// checked is a source that says of cached records whether they hold.

func TestEveryLookupIsCounted(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		answers := map[string]cache.Loaded{
			"found": {Record: decode(t, `{}`)}, "absent": {Record: cache.AbsentRecord()}, "denied": {Record: cache.DeniedRecord(403)},
		}
		src := &source{load: func(_ context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
			if loaded, ok := answers[req.ID]; ok {
				return loaded, nil
			}
			return cache.Loaded{}, errExpected
		}}
		lookup := newLookup(t, c, cache.LookupOptions{Source: src, Family: cache.FileMeta})
		for _, id := range []string{"found", "absent", "denied", "error"} {
			for range 3 {
				lookup.Find(t.Context(), cache.Request{Key: id, ID: id})
			}
		}
		want := cache.Counts{TotalRequests: 12, Hits: 6, Misses: 6, Absent: 3, Denied: 3, Errors: 3, HitRate: 50}
		snap := c.Stats().Snapshot()
		require.Equal(t, want, snap.All)
		require.Equal(t, want, snap.Families[cache.FileMeta])
		require.Equal(t, want, snap.Routes["lookup"].Counts)
		asked := snap.Sources["test"]
		require.Equal(t, errExpected.Error(), asked.LastError)
		require.WithinDuration(t, time.Now(), asked.LastErrorAt, time.Minute)
		asked.LastError, asked.LastErrorAt = "", time.Time{}
		require.Equal(t, cache.SourceCounts{
			Requests: 6, Errors: 3,
			Outcomes: [6]uint64{cache.SourceFound: 1, cache.SourceAbsent: 1, cache.SourceDenied: 1, cache.SourceFailed: 3},
			Failures: [4]uint64{cache.SourceOther: 3},
		}, asked)
		require.Equal(t, snap.All, snap.Window.Counts)
		require.EqualValues(t, 6, c.Stats().SourceLatency.Count())
	})
}

func TestAClosedCacheAnswersClosed(t *testing.T) {
	for name, store := range map[string]func(cache.Store) cache.Store{
		"peeking": func(s cache.Store) cache.Store { return s },
		"shared":  func(s cache.Store) cache.Store { return &wrapped{Store: s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cache.New(store(newStore(t)), cache.NewStats())
			require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{}`), time.Hour))
			src := saying(t, `{}`)
			lookups := []*cache.Lookup{
				newLookup(t, c, cache.LookupOptions{}), newLookup(t, c, cache.LookupOptions{Source: src}),
			}
			require.NoError(t, c.Close())
			for _, lookup := range lookups {
				r := lookup.Find(t.Context(), reqA)
				require.Equal(t, cache.OutcomeError, r.Outcome)
				require.ErrorIs(t, r.Err, cache.ErrClosed)
			}
			require.Zero(t, src.loads.Load())
		})
	}
}

func TestClosingWaitsForLoads(t *testing.T) {
	t.Parallel()
	store := &wrapped{Store: newStore(t)}
	c := cache.New(store, cache.NewStats())
	src := newGate()
	lookup := newLookup(t, c, cache.LookupOptions{Source: src})
	result, closed := make(chan cache.Result, 1), make(chan error, 1)
	go func() { result <- lookup.Find(t.Context(), reqA) }()
	<-src.entered
	go func() { closed <- c.Close() }()
	src.answer <- cache.Loaded{Record: decode(t, `{}`)}
	require.NoError(t, <-closed)
	require.True(t, (<-result).Stored)
}

func TestLookupsWithBadOptionsAreRefused(t *testing.T) {
	t.Parallel()
	c := newCache(t, newStore(t))
	for name, options := range map[string]cache.LookupOptions{
		"no name":              {TTL: time.Hour},
		"no TTL":               {Name: "r"},
		"a negative TTL":       {Name: "r", TTL: -time.Hour},
		"a TTL too short":      {Name: "r", TTL: time.Microsecond},
		"a bad negative TTL":   {Name: "r", TTL: time.Hour, NegativeTTL: -1},
		"a short negative TTL": {Name: "r", TTL: time.Hour, NegativeTTL: time.Microsecond},
		"an ID of no source":   {Name: "r", TTL: time.Hour, SourceID: "0123456789abcdef"},
		"a short source ID":    {Name: "r", TTL: time.Hour, Source: saying(t, `{}`), SourceID: "0123456789abcde"},
		"a long source ID":     {Name: "r", TTL: time.Hour, Source: saying(t, `{}`), SourceID: "0123456789abcdef0"},
		"a loud source ID":     {Name: "r", TTL: time.Hour, Source: saying(t, `{}`), SourceID: "0123456789ABCDEF"},
		"a source ID of words": {Name: "r", TTL: time.Hour, Source: saying(t, `{}`), SourceID: "0123456789abcdeg"},
		"a bad load timeout":   {Name: "r", TTL: time.Hour, LoadTimeout: -1},
		"a bad lookup timeout": {Name: "r", TTL: time.Hour, LookupTimeout: time.Microsecond},
	} {
		_, err := c.NewLookup(options)
		require.Error(t, err, name)
	}
}

func TestAHitAllocatesNothing(t *testing.T) {
	c := newCache(t, newStore(t))
	require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"name":"x"}`), 2*time.Hour))
	src := &checked{source: saying(t, `{}`)}
	src.valid.Store(true)
	for name, options := range map[string]cache.LookupOptions{
		"plain":     {Name: "plain"},
		"a session": {Name: "session", Sliding: true, ExpiresAt: true, Source: saying(t, `{}`)},
		"a file":    {Name: "file", Source: src},
	} {
		lookup := newLookup(t, c, options)
		require.Zero(t, testing.AllocsPerRun(10_000, func() {
			if r := lookup.Find(t.Context(), reqA); !r.Hit {
				t.Error("not a hit")
			}
		}), name)
	}
}
