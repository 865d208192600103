// Cold lookups: how few round trips they take, and what becomes of them while
// Redis refuses a part of what they need.

package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/clock"
)

// newPlain opens a cache without near copies, so that nothing but its lookups
// asks Redis.
func newPlain(t testing.TB, o Options, ro cache.LookupOptions) (*instance, *cache.Stats) {
	t.Helper()
	stats := cache.NewStats()
	store, err := New(o, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	c := cache.New(store, stats)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	ro.Name, ro.Family, ro.KeyPrefix, ro.TTL = "test", cache.Session, "session:user:", time.Hour
	lookup, err := c.NewLookup(ro)
	require.NoError(t, err)
	return &instance{Cache: c, store: store, lookup: lookup}, stats
}

func TestANewSessionTakesTwoRoundTrips(t *testing.T) {
	t.Parallel()
	const sessions = 100
	tags := func(req cache.Request, _ *cache.Record) []string { return []string{"user:" + req.ID, "all"} }
	type test struct {
		answer  *cache.Record
		options cache.LookupOptions
		trips   int
	}
	tests := make(map[string]test)
	for name, answer := range map[string]*cache.Record{
		"found": versioned(1), "absent": cache.AbsentRecord(), "denied": cache.DeniedRecord(403),
	} {
		tests[name] = test{answer, cache.LookupOptions{NegativeTTL: time.Hour}, 2}
		tests[name+", tags"] = test{answer, cache.LookupOptions{NegativeTTL: time.Hour, Tags: tags}, 2}
		tests[name+", no negative TTL, tags"] = test{answer, cache.LookupOptions{Tags: tags}, 2}
	}
	sentinel := sync.OnceValue(func() *redistest.Sentinel { return redistest.StartSentinel(t) })
	for kind, options := range map[string]func(*testing.T) Options{
		"standalone": func(t *testing.T) Options { return at(redistest.Start(t)) },
		"sentinel":   func(*testing.T) Options { return sentinelOptions(sentinel()) },
	} {
		for name, test := range tests {
			t.Run(kind+"/"+name, func(t *testing.T) {
				src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
					return cache.Loaded{Record: test.answer}, nil
				}}
				test.options.Source = src
				in, stats := newPlain(t, options(t), test.options)
				key := func(i int) string { return fmt.Sprint("session:user:", name, i) }
				require.Eventually(t, func() bool {
					r := in.look(key(-1))
					return r.Err == nil && (r.Stored || !strings.Contains(name, "found"))
				}, patience, time.Millisecond)
				before, asked := stats.StoreLatency.Count(), src.asked.Load()
				for i := range sessions {
					r := in.look(key(i))
					require.NoError(t, r.Err)
				}
				// the health check may come in between
				require.LessOrEqual(t, stats.StoreLatency.Count()-before, uint64(test.trips*sessions+2))
				require.Equal(t, asked+sessions, src.asked.Load())
				for i := range sessions { // and those that are stored, one
					if test.answer.State() != cache.Found && test.options.NegativeTTL == 0 {
						break
					}
					before := stats.StoreLatency.Count()
					r := in.look(key(i))
					require.True(t, r.Hit)
					require.LessOrEqual(t, stats.StoreLatency.Count()-before, uint64(3)) // and versions of tags, and the health check
				}
				require.Equal(t, asked+sessions, src.asked.Load())
			})
		}
	}
}

// Loads at the same time share round trips, and so do their fills.
func TestNewSessionsAtTheSameTimeShareRoundTrips(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(1)}, nil
	}}
	for name, tags := range map[string]func(cache.Request, *cache.Record) []string{
		"plain": nil, "tags": func(req cache.Request, _ *cache.Record) []string { return []string{req.ID, "all"} },
	} {
		p := newProxy(t, server.Addr()) // far enough for others to come meanwhile
		p.delay.Store(int64(5 * time.Millisecond))
		in, stats := newPlain(t, Options{Addresses: []string{p.addr()}}, cache.LookupOptions{Source: src, Tags: tags})
		require.True(t, in.lookOK("session:user:first:"+name))
		before := stats.StoreLatency.Count()
		const sessions = 640
		var group sync.WaitGroup
		for worker := range cache.DefaultMaxConcurrent {
			group.Go(func() {
				for i := range sessions / cache.DefaultMaxConcurrent {
					r := in.look(fmt.Sprint("session:user:", name, worker, "-", i))
					assert.True(t, r.Stored, "%v", r.Err)
				}
			})
		}
		group.Wait()
		require.Less(t, stats.StoreLatency.Count()-before, uint64(sessions), name)
	}
}

// An application that drops a tag, deletes the key or writes a record between the
// read and the fill is never overwritten by an older answer of the source.
func TestAChangeBetweenReadAndFillIsNotOverwritten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const key = "session:user:k"
	for name, between := range map[string]func(t *testing.T, in *instance) string{
		"its tag is dropped": func(t *testing.T, in *instance) string {
			require.NoError(t, in.DropTag(t.Context(), "tag"))
			return ""
		},
		"it is deleted": func(t *testing.T, in *instance) string {
			_, err := in.Delete(t.Context(), key)
			require.NoError(t, err)
			return ""
		},
		"all with its prefix are deleted": func(t *testing.T, in *instance) string {
			_, err := in.DeletePrefix(t.Context(), "session:")
			require.NoError(t, err)
			return ""
		},
		"the application writes it": func(t *testing.T, _ *instance) string {
			require.NoError(t, server.Client().Set(t.Context(), key, `{"v":2}`, time.Hour).Err())
			return `{"v":2}`
		},
		"the application writes nothing": func(t *testing.T, _ *instance) string {
			require.NoError(t, server.Client().Set(t.Context(), key, ``, time.Hour).Err())
			return ""
		},
		"the list of drops is lost": func(t *testing.T, in *instance) string {
			require.NoError(t, server.Client().Del(t.Context(), in.store.leases.drops()).Err())
			return ""
		},
		"the list of drops is another one": func(t *testing.T, in *instance) string {
			require.NoError(t, server.Client().Del(t.Context(), in.store.leases.drops()).Err())
			require.NoError(t, in.DropTag(t.Context(), "unrelated"))
			return ""
		},
		"the server loses all": func(t *testing.T, _ *instance) string {
			require.NoError(t, server.Client().FlushAll(t.Context()).Err())
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, server.Client().FlushAll(t.Context()).Err())
			src := &source{}
			in, _ := newPlain(t, at(server), cache.LookupOptions{Source: src, Tags: func(cache.Request, *cache.Record) []string { return []string{"other", "tag"} }})
			want := ""
			src.answer = func(context.Context, cache.Request) (cache.Loaded, error) {
				if src.asked.Load() == 1 {
					want = between(t, in)
				}
				return cache.Loaded{Record: versioned(1)}, nil
			}
			r := in.look(key)
			require.NoError(t, r.Err)
			require.False(t, r.Stored)
			text, err := server.Client().Get(t.Context(), key).Result()
			if want == "" {
				require.Empty(t, text)
			} else {
				require.NoError(t, err)
				require.Equal(t, want, text)
			}
			require.NoError(t, server.Client().Del(t.Context(), key).Err())
			require.Eventually(t, func() bool { r := in.look(key); return r.Stored }, patience, time.Millisecond, "no lease is left behind")
		})
	}
}

// A server that has forgotten its scripts, or was replaced by one that never knew
// them, gets them again in the same batch.
func TestBatchesSurviveForgottenScripts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	tags := func(req cache.Request, _ *cache.Record) []string { return []string{req.ID} }
	src := &source{}
	in, _ := newPlain(t, at(server), cache.LookupOptions{Source: src, Tags: tags})
	src.answer = func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(1)}, server.Client().ScriptFlush(t.Context()).Err()
	}
	for round := range 5 {
		require.NoError(t, server.Client().ScriptFlush(t.Context()).Err())
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				r := in.look(fmt.Sprint("session:user:", round, "-", i))
				assert.NoError(t, r.Err)
				assert.True(t, r.Stored)
			})
		}
		group.Wait()
	}
	require.EqualValues(t, 5*50, src.asked.Load())
}

// A full server still answers what it has, and what it cannot store is asked for
// each time. Nothing is left behind for when there is room again.
func TestAFullServerStillAnswers(t *testing.T) {
	t.Parallel()
	for name, tags := range map[string]func(cache.Request, *cache.Record) []string{
		"plain": nil, "tags": func(req cache.Request, _ *cache.Record) []string { return []string{"all", req.ID} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--maxmemory-policy", "noeviction")
			full := func(limit string) {
				require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", limit).Err())
			}
			src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
				return cache.Loaded{Record: versioned(1)}, nil
			}}
			in, stats := newPlain(t, at(server), cache.LookupOptions{Source: src, Tags: tags})
			require.True(t, in.lookOK("session:user:known"))
			full("1")
			r := in.look("session:user:known")
			require.Equal(t, cache.OutcomeHit, r.Outcome)
			r = in.look("session:user:new")
			require.Equal(t, cache.OutcomeMiss, r.Outcome)
			require.False(t, r.Stored)
			counts := stats.StoreErrors.Counts()
			require.NotZero(t, counts.ByReason[cache.StoreFailure{Op: cache.StoreWrite, Reason: "oom"}])
			require.Zero(t, counts.Reads)
			in.look("session:user:known")
			require.True(t, stats.StoreErrors.Counts().States[cache.StoreWrite].Failing, "a script that only read says nothing of writes")

			full("0")
			src.answer = func(context.Context, cache.Request) (cache.Loaded, error) { // it becomes full during the load
				full("1")
				return cache.Loaded{Record: versioned(1)}, nil
			}
			r = in.look("session:user:filling")
			require.Equal(t, cache.OutcomeMiss, r.Outcome)
			if tags != nil { // without tags, the lease makes room for the record
				require.False(t, r.Stored)
			}
			full("0")
			src.answer = func(context.Context, cache.Request) (cache.Loaded, error) {
				return cache.Loaded{Record: versioned(1)}, nil
			}
			for _, key := range []string{"session:user:new", "session:user:filling"} {
				require.Eventually(t, func() bool { r := in.look(key); return r.Stored || r.Hit }, patience, time.Millisecond, "a lease is left behind")
			}
		})
	}
}

// A master that was demoted refuses writes and still answers reads.
func TestAReadOnlyServerStillAnswers(t *testing.T) {
	t.Parallel()
	master, server := redistest.Start(t), redistest.Start(t)
	src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(1)}, nil
	}}
	in, stats := newPlain(t, at(server), cache.LookupOptions{Source: src})
	host, port, _ := strings.Cut(master.Addr(), ":")
	require.NoError(t, master.Client().Set(t.Context(), "session:user:known", `{"v":7}`, time.Hour).Err())
	require.NoError(t, server.Client().ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool {
		r := in.look("session:user:known")
		n, _ := version(&r)
		return n == 7
	}, patience, time.Millisecond)
	r := in.look("session:user:new")
	require.Equal(t, cache.OutcomeMiss, r.Outcome, "%v", r.Err)
	require.False(t, r.Stored)
	require.NotZero(t, stats.StoreErrors.Counts().ByReason[cache.StoreFailure{Op: cache.StoreWrite, Reason: "readonly"}])
	r = in.look("session:user:known")
	require.Equal(t, cache.OutcomeHit, r.Outcome)
}

// A user without the right to run scripts reads what is stored, loads without
// storing, and the reason is counted.
func TestAUserWithoutScriptsStillReads(t *testing.T) {
	t.Parallel()
	server := redistest.StartWith(t, redistest.Options{Users: []string{
		"none on >secret ~* &* +@all -eval -evalsha", "leases on >secret ~session:* &* +@all",
	}})
	require.NoError(t, server.Client().Set(t.Context(), "session:user:known", `{"v":7}`, time.Hour).Err())
	require.NoError(t, server.Client().Set(t.Context(), "session:user:broken", `{"v":`, time.Hour).Err())
	for _, user := range []string{"none", "leases"} {
		o := at(server)
		o.Username, o.Password = user, "secret"
		src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
			return cache.Loaded{Record: versioned(1)}, nil
		}}
		in, stats := newPlain(t, o, cache.LookupOptions{Source: src})
		r := in.look("session:user:known")
		require.Equal(t, cache.OutcomeHit, r.Outcome, "%v", r.Err)
		require.Zero(t, src.asked.Load())
		r = in.look("session:user:broken")
		require.ErrorIs(t, r.Err, cache.ErrInvalidRecord)
		r = in.look("session:user:new")
		require.Equal(t, cache.OutcomeMiss, r.Outcome, "%v", r.Err)
		require.False(t, r.Stored)
		counts := stats.StoreErrors.Counts()
		require.NotZero(t, counts.ByReason[cache.StoreFailure{Op: cache.StoreWrite, Reason: "noperm"}], user)
		require.Zero(t, counts.Reads, user)
		_, _, err := in.store.GetOrAcquire(t.Context(), "session:user:new", ttl, false)
		require.ErrorContains(t, err, "taking a lease")
		require.ErrorContains(t, err, "NOPERM")
		require.ErrorIs(t, err, cache.ErrUnavailable)
	}
}

// While a script of another client blocks the server, lookups ask their source and
// store nothing; once it was killed, all is as before.
func TestAKilledScriptLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--busy-reply-threshold", "10")
	src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(1)}, nil
	}}
	in, _ := newPlain(t, at(server), cache.LookupOptions{Source: src, LookupTimeout: 100 * time.Millisecond})
	require.True(t, in.lookOK("session:user:first"))
	killed := make(chan error)
	go func() { killed <- server.Client().Eval(context.Background(), "while true do end", nil).Err() }()
	require.Eventually(t, func() bool {
		r := in.look("session:user:k")
		return r.Outcome == cache.OutcomeMiss && !r.Stored
	}, patience, time.Millisecond)
	require.Eventually(t, func() bool { return server.Client().ScriptKill(t.Context()).Err() == nil }, patience, time.Millisecond)
	require.Error(t, <-killed)
	require.Eventually(t, func() bool { r := in.look("session:user:k"); return r.Stored || r.Hit }, patience, time.Millisecond)
}

// An absence shortly after a failover may be untrue: it is asked for, and not
// stored over what the new master may still have to say.
func TestNoLeaseIsTakenOnADoubtfulAbsence(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(1)}, nil
	}}
	in, _ := newPlain(t, sentinelOptions(sentinel), cache.LookupOptions{Source: src})
	require.Eventually(t, func() bool { r := in.look("session:user:first"); return r.Stored || r.Hit }, patience, time.Millisecond)
	in.store.sentinels.switched.Store(int64(clock.Now() + time.Hour))
	r := in.look("session:user:first")
	require.Equal(t, cache.OutcomeHit, r.Outcome)
	r = in.look("session:user:new")
	require.Equal(t, cache.OutcomeMiss, r.Outcome)
	require.False(t, r.Stored)
	_, _, err := in.store.GetOrAcquire(t.Context(), "session:user:new", ttl, false)
	require.ErrorIs(t, err, errSwitched)
	in.store.sentinels.switched.Store(0)
	r = in.look("session:user:new")
	require.True(t, r.Stored)
}

// A caller that leaves while its request waits for others may get the lease
// nevertheless, and needs its token to release it.
func TestACallerThatLeavesGetsTheTokenOfItsLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	require.NoError(t, get(s, "k"))
	server.Pause()
	var group sync.WaitGroup
	all := s.reads.byShard[""]
	for i := range readTrips { // all round trips there may be
		group.Go(func() { _ = get(s, fmt.Sprint(i)) })
		require.Eventually(t, func() bool {
			all.mu.Lock()
			defer all.mu.Unlock()
			return all.underWay == i+1 && all.open == nil
		}, patience, time.Millisecond)
	}
	ctx, leave := context.WithCancel(t.Context())
	type result struct {
		token string
		err   error
	}
	left := make(chan result)
	go func() {
		token, _, err := s.GetOrAcquire(ctx, "k", ttl, false)
		left <- result{token, err}
	}()
	require.Eventually(t, func() bool { all.mu.Lock(); defer all.mu.Unlock(); return len(all.waiting) == 1 }, patience, time.Millisecond)
	leave()
	r := <-left
	require.ErrorIs(t, r.err, context.Canceled)
	require.NotEmpty(t, r.token)
	server.Continue()
	group.Wait()
	require.Eventually(t, func() bool {
		token, _, err := s.GetOrAcquire(t.Context(), "k", ttl, false)
		return err == nil && token == "" // the lease was granted
	}, patience, time.Millisecond)
	require.NoError(t, s.Release(t.Context(), "k", r.token))
	token, _, err := s.GetOrAcquire(t.Context(), "k", ttl, false)
	require.NoError(t, err)
	require.NotEmpty(t, token)
}

// A version that cannot stand in a JSON text as it is, is replaced.
func TestVersionsOfTagsThatAreNotPlainAreReplaced(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	for i, version := range []string{"", `a"b`, `a\b`, "a\nb", "\x00", "é", "\xff", "a\x7f", strings.Repeat("x", 66)} {
		require.NoError(t, server.Client().Set(t.Context(), s.leases.ofTag("tag"), version, 0).Err())
		key := fmt.Sprint("k", i)
		tagged(t, s, key, "tag")
		entry, err := s.Get(t.Context(), key)
		require.NoError(t, err)
		require.NotNil(t, entry.Record, "%q", version)
	}
	for i, version := range []string{"v-1", "A B", "<&>", strings.Repeat("x", 64), "~[]%"} {
		require.NoError(t, server.Client().Set(t.Context(), s.leases.ofTag("tag"), version, 0).Err())
		key := fmt.Sprint("plain", i)
		tagged(t, s, key, "tag")
		entry, err := s.Get(t.Context(), key)
		require.NoError(t, err)
		require.NotNil(t, entry.Record, "%q", version)
		require.Equal(t, version, entry.Record.Tags()[0].Version)
	}
}

// The record of a fill with tags is the same text, whoever splices the versions in.
func TestTagsAreSplicedIntoAnyRecord(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	o := at(server)
	o.MaxValueSize = 1 << 10
	small := open(t, o)
	for i, text := range []string{`{}`, `null`, `{"a": 1, "_x": [1.50]}`, `{"denied":403,"_source":"00000000000000aa"}`, "{\"a\":\"\\u00fc\xc3\xbc\"}"} {
		key := fmt.Sprint("k", i)
		token, _, err := s.GetOrAcquire(t.Context(), key, ttl, true)
		require.NoError(t, err)
		filled, err := s.Fill(t.Context(), key, token, nil, record(t, text), []string{"b", "a", "{c}", "a"}, ttl)
		require.NoError(t, err)
		require.True(t, filled)
		entry, err := s.Get(t.Context(), key)
		require.NoError(t, err)
		versions := make(map[string]string)
		for _, tag := range entry.Record.Tags() {
			versions[tag.Name] = tag.Version
		}
		require.Len(t, versions, 3)
		require.Equal(t, record(t, text).WithTags(versions).Text(), entry.Record.Text())
	}
	token, _, err := small.GetOrAcquire(t.Context(), "large", ttl, true)
	require.NoError(t, err)
	filled, err := small.Fill(t.Context(), "large", token, nil, record(t, `{"a":"`+strings.Repeat("x", 1000)+`"}`), []string{"tag"}, ttl)
	require.NoError(t, err)
	require.False(t, filled, "with its tags it is larger than the limit")
	token, _, err = small.GetOrAcquire(t.Context(), "large", ttl, true)
	require.NoError(t, err)
	require.NotEmpty(t, token, "the lease has ended")
}

func TestLoadsThatFailLeaveNoLease(t *testing.T) {
	t.Parallel()
	src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{}, errors.New("status 500")
	}}
	in, _ := newPlain(t, at(redistest.Start(t)), cache.LookupOptions{Source: src})
	for i := range 3 {
		r := in.look("session:user:k")
		require.ErrorContains(t, r.Err, "status 500")
		require.EqualValues(t, i+1, src.asked.Load())
	}
}
