package cachetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// RunQuestions checks that lookups which share a key, but ask different
// questions, never use each other's answers. open gives the caches of a fleet
// over one store.
func RunQuestions(t *testing.T, open func(t *testing.T) []*cache.Cache) {
	fleet := open(t)
	questions := []question{
		{name: "no source"}, // the application writes the records
		{name: "found", id: "00000000000000a1", answer: `{"question":"found"}`},
		{name: "other", id: "00000000000000a2", answer: `{"question":"other"}`},
		{name: "absent", id: "00000000000000a3", answer: `null`},
		{name: "denied", id: "00000000000000a4", answer: `{"denied":403}`},
	}
	for _, first := range questions {
		for _, second := range questions {
			for on := range fleet {
				for _, warm := range []bool{false, true} {
					name := fmt.Sprintf("%s then %s/cache %d/warm %t", first.name, second.name, on, warm)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						testQuestions(t, fleet, first, second, on, warm)
					})
				}
			}
		}
	}
	t.Run("records of the application are for all", func(t *testing.T) {
		t.Parallel()
		key := "questions:" + rand.Text()
		require.NoError(t, fleet[0].Set(t.Context(), key, record(t, `{"question":"application"}`), ttl))
		for _, q := range questions {
			for _, c := range fleet {
				lookup, asked := q.lookup(t, c)
				r := lookup.Find(t.Context(), cache.Request{Key: key})
				require.Equal(t, cache.OutcomeHit, r.Outcome)
				require.JSONEq(t, `{"question":"application"}`, r.Record.Text())
				require.Zero(t, asked.Load())
			}
		}
	})
	t.Run("a malformed fingerprint is that of no source", func(t *testing.T) {
		t.Parallel()
		for _, fingerprint := range []string{`"00000000000000b1"`, `"x"`, `""`, `null`, `["00000000000000a1"]`} {
			key := "questions:" + rand.Text()
			for _, q := range questions {
				text := `{"question":"stranger","_source":` + fingerprint + `}`
				require.NoError(t, fleet[0].Set(t.Context(), key, record(t, text), ttl))
				lookup, _ := q.lookup(t, fleet[len(fleet)-1])
				q.requireOwn(t, lookup.Find(t.Context(), cache.Request{Key: key}))
			}
		}
	})
}

// testQuestions looks one key up by two questions in turn, the first from the
// first cache of the fleet, the second from another.
func testQuestions(t *testing.T, fleet []*cache.Cache, first, second question, on int, warm bool) {
	req := cache.Request{Key: "questions:" + rand.Text(), ID: "id"}
	one, askedOne := first.lookup(t, fleet[0])
	two, askedTwo := second.lookup(t, fleet[on])
	elsewhere, _ := first.lookup(t, fleet[on])
	first.requireOwn(t, one.Find(t.Context(), req))
	if warm { // near copies of the first answer, where the second is asked
		for range 3 {
			first.requireOwn(t, elsewhere.Find(t.Context(), req))
		}
	}
	second.requireOwn(t, two.Find(t.Context(), req))
	if first.name == second.name && first.id != "" {
		require.Zero(t, askedTwo.Load(), "the same question was asked twice")
	}
	before := askedTwo.Load()
	second.requireOwn(t, two.Find(t.Context(), req))
	require.Equal(t, before, askedTwo.Load(), "the second answer has not replaced the first")
	first.requireOwn(t, one.Find(t.Context(), req))
	if first.name != second.name && second.id != "" && first.id != "" {
		require.EqualValues(t, 2, askedOne.Load())
	}
	for _, by := range []struct {
		question
		*cache.Lookup
	}{{first, one}, {second, two}} {
		require.NoError(t, by.Warm(t.Context(), req).Err)
		by.requireOwn(t, by.Find(t.Context(), req))
	}
}

// question is what lookups ask, and what their source answers.
type question struct{ name, id, answer string }

// lookup gives a new lookup with a source of its own, as after a reload.
func (q question) lookup(t *testing.T, c *cache.Cache) (lookup *cache.Lookup, asked *atomic.Int32) {
	t.Helper()
	options := cache.LookupOptions{Name: q.name, Family: cache.Session, KeyPrefix: "questions:", TTL: ttl, NegativeTTL: ttl}
	s := &answering{}
	if q.id != "" {
		s.record = record(t, q.answer)
		options.Source, options.SourceID = s, q.id
	}
	lookup, err := c.NewLookup(options)
	require.NoError(t, err)
	return lookup, &s.asked
}

// requireOwn fails where the result is not the answer to the question.
func (q question) requireOwn(t *testing.T, r cache.Result) {
	t.Helper()
	require.NoError(t, r.Err)
	switch q.name {
	case "no source", "absent":
		require.Equal(t, cache.OutcomeAbsent, r.Outcome)
	case "denied":
		require.Equal(t, cache.OutcomeDenied, r.Outcome)
	default:
		require.True(t, r.OK(), r.Outcome)
		v, _ := r.Record.Field("question")
		require.Equal(t, q.name, v.Text())
	}
}

// answering is a source that always gives the same record.
type answering struct {
	record *cache.Record
	asked  atomic.Int32
}

func (s *answering) Name() string { return "test" }

func (s *answering) Load(_ context.Context, _ cache.Request, old *cache.Record) (cache.Loaded, error) {
	s.asked.Add(1)
	if old != nil { // none of these records grows out of the one before it
		return cache.Loaded{Record: old}, nil
	}
	return cache.Loaded{Record: s.record}, nil
}
