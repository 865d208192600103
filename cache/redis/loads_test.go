// Loads in a fleet: one for all who wait, however far they are from Redis, and
// nothing of it left when they leave.

package redis

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// newFarFleet is a fleet with a round trip time to Redis for each node.
func newFarFleet(t *testing.T, server *redistest.Server, ro cache.LookupOptions, roundTrips ...time.Duration) []*instance {
	t.Helper()
	fleet := make([]*instance, len(roundTrips))
	for i, rtt := range roundTrips {
		p := newProxy(t, server.Addr())
		p.delay.Store(int64(rtt / 2))
		fleet[i] = newInstance(t, Options{Addresses: []string{p.addr()}}, ro)
	}
	for _, in := range fleet {
		in.becomesCoherent(t)
	}
	// a connection, and the scripts, are there before what is measured
	require.NoError(t, server.Client().Set(t.Context(), "session:user:first", `{"v":0}`, time.Hour).Err())
	for _, in := range fleet {
		require.Eventually(t, func() bool { r := in.look("session:user:first"); return r.OK() }, patience, time.Millisecond)
	}
	return fleet
}

// slowly is a source that takes its time, unless its context ends.
func slowly(d time.Duration, loaded cache.Loaded, err error) *source {
	return &source{answer: func(ctx context.Context, _ cache.Request) (cache.Loaded, error) {
		select {
		case <-time.After(d):
			return loaded, err
		case <-ctx.Done():
			return cache.Loaded{}, ctx.Err()
		}
	}}
}

// lookAll looks a key up n times at once on every node.
func lookAll(fleet []*instance, n int, key string) (results []cache.Result, took time.Duration) {
	var mu sync.Mutex
	var group sync.WaitGroup
	started := time.Now()
	for _, in := range fleet {
		for range n {
			group.Go(func() {
				r := in.look(key)
				mu.Lock()
				defer mu.Unlock()
				results = append(results, r)
			})
		}
	}
	group.Wait()
	return results, time.Since(started)
}

// The time that waiting takes is not what a lookup may wait for Redis.
func TestMissesBehindASlowSourceAreOneLoad(t *testing.T) {
	t.Parallel()
	const rtt = 25 * time.Millisecond
	s := slowly(2*time.Second, cache.Loaded{Record: versioned(1)}, nil)
	fleet := newFarFleet(t, redistest.Start(t), cache.LookupOptions{Source: s, LookupTimeout: 300 * time.Millisecond}, rtt, rtt, rtt)
	results, _ := lookAll(fleet, 10, "session:user:hot")
	for _, r := range results {
		n, _ := version(&r)
		require.EqualValues(t, 1, n, "%v", r.Err)
	}
	require.EqualValues(t, 1, s.asked.Load())
}

// Those who wait do not ask Redis all the time.
func TestWaitingForALoadIsNotPolling(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	finish := make(chan struct{})
	s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		<-finish
		return cache.Loaded{Record: versioned(1)}, nil
	}}
	fleet := newFleet(t, 2, at(server), cache.LookupOptions{Source: s, LoadTimeout: time.Minute})
	first := make(chan cache.Result)
	go func() { first <- fleet[0].look("session:user:k") }()
	require.Eventually(t, func() bool { return s.asked.Load() == 1 }, patience, time.Millisecond)
	second := make(chan time.Time)
	go func() {
		r := fleet[1].look("session:user:k")
		assert.Equal(t, cache.OutcomeHit, r.Outcome)
		second <- time.Now()
	}()
	scripts := func() (n int) {
		info, err := server.Client().InfoMap(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		_, err = fmt.Sscanf(info["Commandstats"]["cmdstat_evalsha"], "calls=%d,", &n)
		require.NoError(t, err)
		return n
	}
	before := scripts()
	<-time.After(time.Second) // to count what happens in it
	require.LessOrEqual(t, scripts()-before, 6)
	close(finish)
	<-first
	filled := time.Now()
	require.Less(t, (<-second).Sub(filled), leasePollTold, "it was woken by the fill")
}

// leasePollTold is what it takes at least to find out without being woken.
const leasePollTold = 200 * time.Millisecond

func TestAFarNodeFillsAndReleases(t *testing.T) {
	t.Parallel()
	const far = 180 * time.Millisecond
	t.Run("fills", func(t *testing.T) {
		t.Parallel()
		s := slowly(time.Second, cache.Loaded{Record: versioned(1)}, nil)
		fleet := newFarFleet(t, redistest.Start(t), cache.LookupOptions{Source: s}, far, 0)
		results, took := lookAll(fleet, 1, "session:user:k")
		for _, r := range results {
			require.True(t, r.OK(), "%v", r.Err)
		}
		require.Less(t, took, 3*time.Second)
		require.Eventually(t, func() bool {
			entry, err := fleet[1].Get(t.Context(), "session:user:k")
			return err == nil && entry.Record != nil
		}, patience, time.Millisecond)
		require.EqualValues(t, 1, s.asked.Load())
	})
	t.Run("releases", func(t *testing.T) {
		t.Parallel()
		s := slowly(time.Hour, cache.Loaded{}, nil)
		fleet := newFarFleet(t, redistest.Start(t), cache.LookupOptions{Source: s}, far, 0)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan cache.Result)
		go func() { left <- fleet[0].lookup.Find(ctx, cache.Request{Key: "session:user:k"}) }()
		require.Eventually(t, func() bool { return s.asked.Load() == 1 }, patience, time.Millisecond)
		leave()
		<-left
		requireLeaseEnds(t, fleet[1], "session:user:k", 2*time.Second)
	})
}

// requireLeaseEnds checks that the lease of a key ends within that time.
func requireLeaseEnds(t *testing.T, in *instance, key string, longest time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool {
		token, _, err := in.store.Acquire(t.Context(), key, nil, ttl, false)
		return err == nil && token != "" && in.store.Release(t.Context(), key, token) == nil
	}, longest, time.Millisecond)
}

// A command that timed out here may be carried out later: a lease without a holder.
func TestALeaseThatCameTooLateIsGivenBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := slowly(0, cache.Loaded{Record: versioned(1)}, nil)
	fleet := newFleet(t, 2, at(server), cache.LookupOptions{Source: s, LookupTimeout: 100 * time.Millisecond, LoadTimeout: 20 * time.Second})
	require.True(t, fleet[0].lookOK("session:user:first"), "the scripts are known")
	// reads are answered, scripts only afterwards
	require.NoError(t, server.Client().Do(t.Context(), "CLIENT", "PAUSE", 400, "WRITE").Err())
	r := fleet[0].look("session:user:k")
	require.Equal(t, cache.OutcomeMiss, r.Outcome)
	require.False(t, r.Stored)
	requireLeaseEnds(t, fleet[1], "session:user:k", 5*time.Second)
	started := time.Now()
	r = fleet[1].look("session:user:k")
	require.True(t, r.Stored)
	require.Less(t, time.Since(started), 2*time.Second)
}

func (in *instance) lookOK(key string) bool {
	r := in.look(key)
	return r.OK()
}

func TestWaitersShareAFailure(t *testing.T) {
	t.Parallel()
	s := slowly(500*time.Millisecond, cache.Loaded{}, errors.New("status 500"))
	fleet := newFleet(t, 3, at(redistest.Start(t)), cache.LookupOptions{Source: s})
	for asked := range int64(2) {
		results, took := lookAll(fleet, 10, "session:user:k")
		for _, r := range results {
			require.Equal(t, cache.OutcomeError, r.Outcome)
			require.ErrorContains(t, r.Err, "status 500")
			var failed *cache.SourceError
			require.ErrorAs(t, r.Err, &failed)
		}
		require.Less(t, took, 2*time.Second)
		require.Equal(t, asked+1, s.asked.Load(), "the next ones ask anew")
	}
}

// What may not be stored is loaded by every node, but not by one after the
// other.
func TestWaitersForAnAnswerThatIsNotStoredLoadAtOnce(t *testing.T) {
	t.Parallel()
	const takes = 300 * time.Millisecond
	s := slowly(takes, cache.Loaded{Record: versioned(1), NoStore: true}, nil)
	fleet := newFleet(t, 5, at(redistest.Start(t)), cache.LookupOptions{Source: s})
	results, took := lookAll(fleet, 10, "session:user:k")
	for _, r := range results {
		require.Equal(t, cache.OutcomeMiss, r.Outcome, "%v", r.Err)
	}
	require.LessOrEqual(t, s.asked.Load(), int64(5))
	require.Less(t, took, 4*takes)
}

// No request waits for longer than the source and Redis may take, whatever
// fails.
func TestNoLookupTakesLongerThanSourceAndStoreMay(t *testing.T) {
	t.Parallel()
	const lookup, load, noise = time.Second, time.Second, time.Second
	deaf := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		<-time.After(3 * (lookup + load)) // whatever its context says
		return cache.Loaded{}, errors.New("late")
	}}
	quick := func() *source { return slowly(20*time.Millisecond, cache.Loaded{Record: versioned(1)}, nil) }
	for name, test := range map[string]struct {
		source *source
		fault  func(t *testing.T, server *redistest.Server, fleet []*instance)
		ok     bool
	}{
		"a source that does not end":       {deaf, func(*testing.T, *redistest.Server, []*instance) {}, false},
		"a source that takes all its time": {slowly(time.Hour, cache.Loaded{}, nil), func(*testing.T, *redistest.Server, []*instance) {}, false},
		"a node that died while loading": {quick(), func(t *testing.T, _ *redistest.Server, fleet []*instance) {
			_, _, err := fleet[0].store.Acquire(t.Context(), "session:user:k", nil, time.Hour, false)
			require.NoError(t, err)
		}, true},
		"a Redis that stands still": {quick(), func(t *testing.T, server *redistest.Server, _ []*instance) {
			server.Pause()
			t.Cleanup(server.Continue)
		}, true},
		"a Redis that does not write": {quick(), func(t *testing.T, server *redistest.Server, _ []*instance) {
			require.NoError(t, server.Client().Do(t.Context(), "CLIENT", "PAUSE", 60_000, "WRITE").Err())
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			fleet := newFleet(t, 2, at(server), cache.LookupOptions{Source: test.source, LookupTimeout: lookup, LoadTimeout: load})
			test.fault(t, server, fleet)
			results, took := lookAll(fleet, 5, "session:user:k")
			for _, r := range results {
				require.Equal(t, test.ok, r.OK(), "%v", r.Err)
			}
			require.Less(t, took, lookup+load+noise)
		})
	}
}

// Two versions of a configuration in one fleet ask different questions for one
// key. A lookup of one waits for the lease of a load of the other, but no
// longer than for its own source and Redis.
func TestALoadOfAnotherQuestionDelaysALookupWithinItsBounds(t *testing.T) {
	t.Parallel()
	const key = "session:user:k"
	const lookup, load, noise = time.Second, time.Second, time.Second
	for name, takes := range map[string]time.Duration{"it ends soon": 300 * time.Millisecond, "it takes a minute": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			old := slowly(takes, cache.Loaded{Record: versioned(1)}, nil)
			before := newFleet(t, 1, at(server), cache.LookupOptions{Source: old, SourceID: "00000000000000aa", LoadTimeout: time.Minute})[0]
			after := newFleet(t, 2, at(server), cache.LookupOptions{
				Source: slowly(20*time.Millisecond, cache.Loaded{Record: versioned(2)}, nil), SourceID: "00000000000000bb",
				LookupTimeout: lookup, LoadTimeout: load,
			})
			ctx, leave := context.WithCancel(t.Context())
			var first sync.WaitGroup
			first.Go(func() { before.lookup.Find(ctx, cache.Request{Key: key}) })
			defer first.Wait()
			defer leave()
			require.Eventually(t, func() bool { return old.asked.Load() == 1 }, patience, time.Millisecond)
			results, took := lookAll(after, 5, key)
			for _, r := range results {
				n, _ := version(&r)
				require.EqualValues(t, 2, n, "%v", r.Err)
			}
			t.Logf("the slowest took %v", took)
			require.Less(t, took, lookup+load+noise)
		})
	}
}

// Clients that send a random identity and leave.
func TestClientsThatLeaveLeaveNothingBehind(t *testing.T) {
	server := redistest.Start(t)
	var now, most atomic.Int64
	s := &source{answer: func(ctx context.Context, _ cache.Request) (cache.Loaded, error) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		<-ctx.Done()
		return cache.Loaded{}, ctx.Err()
	}}
	in := newFleet(t, 1, at(server), cache.LookupOptions{Source: s, LoadTimeout: time.Minute, LookupTimeout: 10 * time.Second})[0]
	goroutines := runtime.NumGoroutine()
	ctx, leave := context.WithCancel(t.Context())
	var group sync.WaitGroup
	const clients = 1000
	for i := range clients {
		group.Go(func() {
			r := in.lookup.Find(ctx, cache.Request{Key: fmt.Sprint("session:user:", i)})
			assert.ErrorIs(t, r.Err, context.Canceled)
		})
	}
	require.Eventually(t, func() bool { return now.Load() == cache.DefaultMaxConcurrent }, patience, time.Millisecond)
	leave()
	group.Wait()
	require.Eventually(t, func() bool {
		left, err := server.Client().Keys(t.Context(), "fwb:[^c]*").Result() // all but the canary
		return err == nil && len(left) == 0 && runtime.NumGoroutine() < goroutines+50
	}, 10*time.Second, 10*time.Millisecond)
	require.Zero(t, now.Load())
	require.LessOrEqual(t, most.Load(), int64(cache.DefaultMaxConcurrent))
}

// Misses of one lookup do not take the round trips of another.
func TestMissesDoNotStarveOthers(t *testing.T) {
	server := redistest.Start(t)
	o := at(server)
	o.PoolSize = 4
	s := slowly(time.Hour, cache.Loaded{}, nil)
	in := newFleet(t, 1, o, cache.LookupOptions{Source: s, LoadTimeout: time.Minute, MaxConcurrent: 1000})[0]
	other, err := in.NewLookup(cache.LookupOptions{
		Name: "other", Family: cache.Session, KeyPrefix: "other:", TTL: time.Hour, Source: slowly(0, cache.Loaded{Record: versioned(1)}, nil),
	})
	require.NoError(t, err)
	in.becomesCoherent(t)
	ctx, leave := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range 2000 {
		group.Go(func() { in.lookup.Find(ctx, cache.Request{Key: fmt.Sprint("session:user:", i)}) })
	}
	stored := 0
	for i := range 100 {
		r := other.Find(t.Context(), cache.Request{Key: fmt.Sprint("other:", i)})
		require.Equal(t, cache.OutcomeMiss, r.Outcome, "%v", r.Err)
		if r.Stored {
			stored++
		}
	}
	require.GreaterOrEqual(t, stored, 90, "a busy machine may keep some fills too long, other misses none")
	leave()
	group.Wait()
	require.Equal(t, "closed", in.store.Pool().Breaker)
}

func TestAnswersOfRedisAndTheSourceReplaceStaleRecords(t *testing.T) {
	t.Parallel()
	const key = "session:user:k"
	for name, say := range map[string]func(t *testing.T, server *redistest.Server, in *instance, answer *atomic.Pointer[cache.Loaded]){
		"Redis has none any more": func(t *testing.T, server *redistest.Server, in *instance, _ *atomic.Pointer[cache.Loaded]) {
			server.Restart() // empty
			require.Eventually(t, func() bool { r := in.look(key); return r.Outcome != cache.OutcomeStale }, patience, time.Millisecond)
		},
		"the source has none": func(t *testing.T, _ *redistest.Server, in *instance, answer *atomic.Pointer[cache.Loaded]) {
			answer.Store(&cache.Loaded{Record: cache.AbsentRecord()})
			r := in.look(key)
			require.Equal(t, cache.OutcomeAbsent, r.Outcome)
		},
		"the source refuses": func(t *testing.T, _ *redistest.Server, in *instance, answer *atomic.Pointer[cache.Loaded]) {
			answer.Store(&cache.Loaded{Record: cache.DeniedRecord(403)})
			r := in.look(key)
			require.Equal(t, cache.OutcomeDenied, r.Outcome)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var answer atomic.Pointer[cache.Loaded] // nil: the source fails
			s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
				if loaded := answer.Load(); loaded != nil {
					return *loaded, nil
				}
				return cache.Loaded{}, errors.New("status 500")
			}}
			in := newFleet(t, 1, at(server), cache.LookupOptions{Source: s, Strict: true, StaleIfError: time.Hour})[0]
			require.NoError(t, in.Set(t.Context(), key, versioned(1), time.Hour))
			require.Eventually(t, func() bool { r := in.look(key); return r.OK() && r.From == "near" }, patience, time.Millisecond)
			server.Kill()
			require.Eventually(t, func() bool { r := in.look(key); return r.Outcome == cache.OutcomeStale }, patience, time.Millisecond)
			require.NotZero(t, s.asked.Load(), "the source was asked first")
			say(t, server, in, &answer)
			server.Kill()
			answer.Store(nil)
			for range 20 {
				r := in.look(key)
				require.False(t, r.OK(), "let in after a refusal: %s", r.Outcome)
			}
		})
	}
}

// Who waits for a load that an invalidation has overtaken is woken by that, on
// every node, and not by looking again after a while.
func TestAnInvalidationWakesTheWaitersForTheLoad(t *testing.T) {
	for name, invalidate := range map[string]func(in *instance, key string) error{
		"a deletion": func(in *instance, key string) error {
			_, err := in.Delete(context.Background(), key)
			return err
		},
		"a deletion of many": func(in *instance, key string) error {
			_, err := in.Delete(context.Background(), "session:user:a", key, "session:user:b")
			return err
		},
		"a deletion by prefix": func(in *instance, _ string) error {
			_, err := in.DeletePrefix(context.Background(), "session:user:")
			return err
		},
	} {
		for _, cluster := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", cluster ", cluster), func(t *testing.T) {
				t.Parallel()
				var o Options
				if cluster {
					o.Addresses = redistest.StartCluster(t, 3, 0).Addrs()
				} else {
					o = at(redistest.Start(t))
				}
				began := make(chan time.Time)
				finish := make(chan struct{})
				s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
					began <- time.Now()
					<-finish
					return cache.Loaded{Record: versioned(1)}, nil
				}}
				fleet := newFleet(t, 3, o, cache.LookupOptions{Source: s, LoadTimeout: time.Minute})
				var lookups sync.WaitGroup
				defer lookups.Wait()
				defer close(finish)
				var woken []time.Duration
				for i := range 9 {
					key := fmt.Sprint("session:user:k", i)
					lookups.Go(func() { fleet[0].look(key) })
					<-began
					trips := fleet[1].Stats().StoreLatency.Count()
					lookups.Go(func() { fleet[1].look(key) })
					require.Eventually(t, func() bool {
						return fleet[1].Stats().StoreLatency.Count() >= trips+2 // it was read, and the lease asked for
					}, patience, time.Millisecond)
					require.NoError(t, invalidate(fleet[2], key))
					invalidated := time.Now()
					woken = append(woken, (<-began).Sub(invalidated))
				}
				t.Logf("loads began anew after %v", woken)
				require.Less(t, slices.Sorted(slices.Values(woken))[len(woken)/2], leasePollTold/4)
			})
		}
	}
}
