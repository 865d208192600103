package cache_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

const (
	idA = "00000000000000aa"
	idB = "00000000000000bb"
)

func TestAnswersToOtherQuestionsAreNotUsed(t *testing.T) {
	t.Parallel()
	t.Run("peeking", func(t *testing.T) {
		t.Parallel()
		cachetest.RunQuestions(t, func(t *testing.T) []*cache.Cache { return []*cache.Cache{newCache(t, newStore(t))} })
	})
	t.Run("near", func(t *testing.T) {
		t.Parallel()
		cachetest.RunQuestions(t, func(t *testing.T) []*cache.Cache {
			c := newCache(t, watchedStore{newStore(t)})
			c.EnableNear(near.Options{})
			return []*cache.Cache{c}
		})
	})
}

func TestAnswersAreStoredWithTheirQuestion(t *testing.T) {
	for answer, want := range map[string]string{
		`{"a":1,"_source":"` + idB + `"}`: `{"a":1,"_source":"` + idA + `"}`,
		`null`:                            `{"absent":true,"_source":"` + idA + `"}`,
		`{"denied":451}`:                  `{"denied":451,"_source":"` + idA + `"}`,
	} {
		t.Run(answer, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c *cache.Cache) {
				lookup := newLookup(t, c, cache.LookupOptions{Source: saying(t, answer), SourceID: idA})
				r := lookup.Find(t.Context(), reqA)
				require.True(t, r.Stored)
				requireStored(t, c, reqA.Key, want)
				require.Equal(t, want, r.Record.Text())
			})
		})
	}
}

// A purge of a tag must drop what a lookup with that tag uses, also what another
// lookup, or this one before a reload, has stored without it.
func TestALookupWithTagsUsesNoAnswerThatWasStoredWithoutThem(t *testing.T) {
	tags := func(_ cache.Request, record *cache.Record) []string {
		if user, ok := record.Field("user"); ok {
			return []string{"user:" + user.Text()}
		}
		return nil
	}
	for answer, again := range map[string]bool{`{"user":"ann"}`: true, `{"other":"ann"}`: false, `null`: false} {
		t.Run(answer, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c *cache.Cache) {
				source := saying(t, answer)
				plain := newLookup(t, c, cache.LookupOptions{Name: "plain", Source: source, SourceID: idA})
				tagged := newLookup(t, c, cache.LookupOptions{Name: "tagged", Source: source, SourceID: idA, Tags: tags})
				require.False(t, plain.Find(t.Context(), reqA).Hit)
				require.Equal(t, !again, tagged.Find(t.Context(), reqA).Hit)
				require.True(t, tagged.Find(t.Context(), reqA).Hit)
				require.True(t, plain.Find(t.Context(), reqA).Hit)
				require.NoError(t, c.DropTag(t.Context(), "user:ann"))
				require.Equal(t, !again, plain.Find(t.Context(), reqA).Hit)
			})
		})
	}
}

// A purge of one of its tags must drop what a lookup uses, also what was stored with
// other tags, as before a reload that changed them.
func TestALookupUsesNoAnswerThatWasStoredWithOtherTags(t *testing.T) {
	with := func(tags ...string) func(cache.Request, *cache.Record) []string {
		return func(cache.Request, *cache.Record) []string { return tags }
	}
	long := strings.Repeat("long", 100) // its name is a hash
	for name, c := range map[string]struct {
		stored, wanted []string
		used           bool
	}{
		"another":      {[]string{"user:ann"}, []string{"team:red"}, false},
		"one more":     {[]string{"user:ann"}, []string{"user:ann", "team:red"}, false},
		"one less":     {[]string{"user:ann", "team:red"}, []string{"team:red"}, true},
		"other order":  {[]string{"user:ann", long}, []string{long, "user:ann"}, true},
		"another long": {[]string{long}, []string{long + "er"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, store *cache.Cache) {
				source := saying(t, `{}`)
				before := newLookup(t, store, cache.LookupOptions{Name: "before", Source: source, SourceID: idA, Tags: with(c.stored...)})
				after := newLookup(t, store, cache.LookupOptions{Name: "after", Source: source, SourceID: idA, Tags: with(c.wanted...)})
				require.False(t, before.Find(t.Context(), reqA).Hit)
				require.True(t, before.Find(t.Context(), reqA).Hit)
				require.Equal(t, c.used, after.Find(t.Context(), reqA).Hit)
				require.True(t, after.Find(t.Context(), reqA).Hit)
				require.NoError(t, store.DropTag(t.Context(), c.wanted[0]))
				require.False(t, after.Find(t.Context(), reqA).Hit)
			})
		})
	}
}

// A near copy is checked once for all lookups with the same tags, whether or not these
// give it any.
func TestTagsOfANearCopyAreCheckedOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		tags []string
	}{
		"one tag":            {`{}`, []string{"user:ann"}},
		"two tags":           {`{}`, []string{"user:ann", "team:red"}},
		"no tag":             {`{}`, nil},
		"no tag, an absence": {`null`, nil},
		"one tag, a refusal": {`{"denied":451}`, []string{"user:ann"}},
		"a large record":     {`{"a":"` + strings.Repeat("x", 1000) + `"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newCache(t, watchedStore{newStore(t)})
			store.EnableNear(near.Options{})
			source, checks := saying(t, c.text), 0
			options := cache.LookupOptions{Source: source, SourceID: idA, TagsID: "same", Tags: func(cache.Request, *cache.Record) []string {
				checks++
				return c.tags
			}}
			var lookups []*cache.Lookup
			for _, name := range []string{"one", "two"} {
				options.Name = name
				lookups = append(lookups, newLookup(t, store, options))
			}
			for range 5 { // until the copy is near
				for _, l := range lookups {
					require.NoError(t, l.Find(t.Context(), reqA).Err)
				}
			}
			checks = 0
			for range 100 {
				for _, l := range lookups {
					require.Equal(t, "near", l.Find(t.Context(), reqA).From)
				}
			}
			require.Zero(t, checks)

			// another lookup's tags are others, and are checked
			options.Name, options.TagsID = "three", ""
			options.Tags = func(cache.Request, *cache.Record) []string { return []string{"another"} }
			require.False(t, newLookup(t, store, options).Find(t.Context(), reqA).Hit)
		})
	}
}

// The source must not grow its record out of one that answers another
// question: a file's record takes the hash over from the one before it.
func TestSourcesDoNotSeeAnswersToOtherQuestions(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		var seen atomic.Pointer[cache.Record]
		src := &source{load: func(_ context.Context, _ cache.Request, old *cache.Record) (cache.Loaded, error) {
			seen.Store(old)
			return cache.Loaded{Record: decode(t, `{"expires_at":1}`)}, nil
		}}
		lookup := newLookup(t, c, cache.LookupOptions{Source: src, SourceID: idA, ExpiresAt: true})
		for text, want := range map[string]bool{
			`{"expires_at":1}`:                             true,
			`{"expires_at":1,"_source":"` + idA + `"}`:     true,
			`{"expires_at":1,"_source":"` + idB + `"}`:     false,
			`{"expires_at":1,"_source":"not hex"}`:         false,
			`{"absent":true,"_source":"` + idB + `"}`:      false,
			`{"denied":403,"_source":"0123456789abcdeff"}`: false,
		} {
			require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, text), time.Hour))
			seen.Store(nil)
			lookup.Find(t.Context(), reqA)
			require.Equal(t, want, seen.Load() != nil, text)
		}
	})
}

func TestTheLimitOfRecordsCountsWhatIsStored(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		text := `{"a":"` + strings.Repeat("x", 100) + `"}`
		stamped := len(text) + len(`,"_source":""`) + len(idA)
		for size, want := range map[int]cache.Outcome{stamped: cache.OutcomeMiss, stamped - 1: cache.OutcomeError} {
			lookup := newLookup(t, c, cache.LookupOptions{Source: saying(t, text), SourceID: idA, MaxValueSize: size})
			require.NoError(t, c.Store().Ping(t.Context()))
			r := lookup.Find(t.Context(), cache.Request{Key: string(want)})
			require.Equal(t, want, r.Outcome)
		}
	})
}

// A load that waits for another's lease goes on at once when that fills the
// key with the answer to another question.
func TestAnAnswerToAnotherQuestionIsNotWaitedFor(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		token, _, err := c.Store().Acquire(t.Context(), reqA.Key, nil, time.Hour, false)
		require.NoError(t, err)
		src := saying(t, `{"answers":"a"}`)
		lookup := newLookup(t, c, cache.LookupOptions{Source: src, SourceID: idA, LoadTimeout: time.Minute})
		var result cache.Result
		var group sync.WaitGroup
		group.Go(func() { result = lookup.Find(context.Background(), reqA) })
		filled, err := c.Store().Fill(t.Context(), reqA.Key, token, nil, decode(t, `{"answers":"b","_source":"`+idB+`"}`), nil, time.Hour)
		require.NoError(t, err)
		require.True(t, filled)
		group.Wait()
		require.Equal(t, cache.OutcomeMiss, result.Outcome)
		require.True(t, result.Stored)
		requireStored(t, c, reqA.Key, `{"answers":"a","_source":"`+idA+`"}`)
	})
}

func TestTwoQuestionsAtOnceAreTwoLoads(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		var group sync.WaitGroup
		for i := range 64 {
			id, text := idA, `{"answers":"a"}`
			if i%2 == 1 {
				id, text = idB, `{"answers":"b"}`
			}
			lookup := newLookup(t, c, cache.LookupOptions{Source: saying(t, text), SourceID: id})
			group.Go(func() {
				for range 20 {
					r := lookup.Find(context.Background(), reqA)
					if assert.True(t, r.OK(), r.Err) {
						assert.Equal(t, text[:len(text)-1]+`,"_source":"`+id+`"}`, r.Record.Text())
					}
				}
			})
		}
		group.Wait()
	})
}

func TestStaleAnswersToOtherQuestionsAreNotUsed(t *testing.T) {
	t.Parallel()
	c := newCache(t, newStore(t))
	options := cache.LookupOptions{Source: answering(cache.Loaded{}, errExpected), SourceID: idA, StaleIfError: time.Hour, TTL: time.Millisecond}
	lookup := newLookup(t, c, options)
	for text, want := range map[string]cache.Outcome{
		`{"a":1}`:                         cache.OutcomeStale,
		`{"a":1,"_source":"` + idA + `"}`: cache.OutcomeStale,
		`{"a":1,"_source":"` + idB + `"}`: cache.OutcomeError,
		`{"a":1,"_source":7}`:             cache.OutcomeError,
	} {
		require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, text), time.Millisecond))
		require.Eventually(t, func() bool { return lookup.Find(t.Context(), reqA).Outcome != cache.OutcomeHit }, 5*time.Second, time.Millisecond)
		require.Equal(t, want, lookup.Find(t.Context(), reqA).Outcome, text)
	}
}

// Without a negative TTL an absence is not stored, and one that a lookup with
// a negative TTL has stored is not used.
func TestAbsencesNeedNotBeStored(t *testing.T) {
	for _, answer := range []string{`null`, `{"absent":1}`, `{"denied":403}`} {
		t.Run(answer, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c *cache.Cache) {
				src := saying(t, answer)
				options := cache.LookupOptions{Name: "r", Family: cache.Session, TTL: time.Hour, Source: src, SourceID: idA}
				forgetful, err := c.NewLookup(options)
				require.NoError(t, err)
				for n := range int32(3) {
					r := forgetful.Find(t.Context(), reqA)
					require.False(t, r.Hit)
					require.False(t, r.Stored)
					require.Equal(t, n+1, src.loads.Load())
					requireNothingStored(t, c, reqA.Key)
				}
				options.NegativeTTL = time.Hour
				mindful, err := c.NewLookup(options)
				require.NoError(t, err)
				require.True(t, mindful.Find(t.Context(), reqA).Stored)
				require.True(t, mindful.Find(t.Context(), reqA).Hit)
				require.False(t, forgetful.Find(t.Context(), reqA).Hit)

				require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, answer), time.Hour))
				require.True(t, forgetful.Find(t.Context(), reqA).Hit, "the application's own word counts")
			})
		})
	}
}

// A record in the last tenth of its TTL is refreshed. Where the source then
// gives an answer that is not stored, the record must not be used any longer.
func TestARecordThatItsSourceTakesBackIsDropped(t *testing.T) {
	for name, loaded := range map[string]cache.Loaded{
		"an absence":                    {Record: cache.AbsentRecord()},
		"a refusal":                     {Record: cache.DeniedRecord(403)},
		"a redirect":                    {Response: "redirect"},
		"a record that is not stored":   {Record: decode(t, `{"n":2}`), NoStore: true},
		"a record that ends too soon":   {Record: decode(t, `{"n":2}`), MaxTTL: 1},
		"a record that has ended":       {Record: decode(t, `{"n":2,"expires_at":1}`)},
		"an absence that is not stored": {Record: cache.AbsentRecord(), NoStore: true},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c *cache.Cache) {
				src := answering(loaded, nil)
				lookup, err := c.NewLookup(cache.LookupOptions{
					Name: "r", Family: cache.Session, TTL: time.Hour, ExpiresAt: true, Source: src, SourceID: idA,
				})
				require.NoError(t, err)
				require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1,"_source":"`+idA+`"}`), time.Minute))
				require.Equal(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome)
				require.Eventually(t, func() bool { return get(t, c, reqA.Key).Record == nil }, 5*time.Second, time.Millisecond)
				require.NotEqual(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome)
			})
		})
	}
	t.Run("a failure takes nothing back", func(t *testing.T) {
		bothWays(t, func(t *testing.T, c *cache.Cache) {
			src := answering(cache.Loaded{}, errExpected)
			lookup := newLookup(t, c, cache.LookupOptions{Source: src, SourceID: idA})
			require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1,"_source":"`+idA+`"}`), time.Minute))
			require.Equal(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome)
			require.Eventually(t, func() bool { return src.loads.Load() > 0 }, 5*time.Second, time.Millisecond)
			require.Equal(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome)
		})
	})
}

func TestAbsencesHaveTagsToo(t *testing.T) {
	bothWays(t, func(t *testing.T, c *cache.Cache) {
		src := saying(t, `null`)
		lookup := newLookup(t, c, cache.LookupOptions{Source: src, SourceID: idA, Tags: func(req cache.Request, r *cache.Record) []string {
			assert.Equal(t, cache.Absent, r.State())
			return []string{"id:" + req.ID}
		}})
		require.True(t, lookup.Find(t.Context(), reqA).Stored)
		require.True(t, lookup.Find(t.Context(), reqA).Hit)
		require.NoError(t, c.DropTag(t.Context(), "id:a"))
		require.False(t, lookup.Find(t.Context(), reqA).Hit)
	})
}
