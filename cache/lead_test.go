package cache_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

func TestANewRecordIsReadAndLeasedAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer *cache.Record
		err    error
		ends   string // the call that ends the load
	}{
		"found":  {decode(t, `{"n":1}`), nil, "fill"},
		"absent": {cache.AbsentRecord(), nil, "fill"},
		"denied": {cache.DeniedRecord(403), nil, "fill"},
		"failed": {nil, errExpected, "abandon"},
	} {
		store := &wrapped{Store: newStore(t)}
		lookup := newLookup(t, newCache(t, store), cache.LookupOptions{Source: answering(cache.Loaded{Record: test.answer}, test.err)})
		r := lookup.Find(t.Context(), reqA)
		require.Equal(t, test.err != nil, r.Err != nil, name)
		require.Equal(t, map[string]int{"get": 1, test.ends: 1}, store.calls, name)
	}
}

// A load that would have to wait for others takes no lease before it may begin: on
// other nodes, loads would wait for it.
func TestALoadThatWaitsForOthersHoldsNoLease(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	g := newGate()
	lookup := newLookup(t, newCache(t, &wrapped{Store: store}), cache.LookupOptions{Source: g, MaxConcurrent: 2})
	var group sync.WaitGroup
	look := func(i int) {
		group.Go(func() {
			r := lookup.Find(t.Context(), cache.Request{Key: fmt.Sprint("key:", i)})
			assert.True(t, r.Stored, "%v", r.Err)
		})
	}
	look(0)
	look(1)
	<-g.entered
	<-g.entered
	ctx, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for i := range 20 {
		waiting.Go(func() {
			r := lookup.Find(ctx, cache.Request{Key: fmt.Sprint("key:", 100+i)})
			assert.ErrorIs(t, r.Err, context.Canceled)
		})
	}
	require.Eventually(t, func() bool { return lookup.WaitingLoads() == 20 }, 10*time.Second, time.Millisecond)
	for i := range 20 {
		token, _, err := store.GetOrAcquire(t.Context(), fmt.Sprint("key:", 100+i), time.Hour, false)
		require.NoError(t, err)
		require.NotEmpty(t, token)
	}
	leave()
	waiting.Wait()
	g.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
	g.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
	group.Wait()
}

// A record that is found gives back what was taken for its load.
func TestARecordThatIsFoundTakesNoSlot(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	c := newCache(t, &wrapped{Store: store})
	lookup := newLookup(t, c, cache.LookupOptions{Source: saying(t, `{"n":2}`), MaxConcurrent: 1})
	require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Hour))
	for range 10 {
		r := lookup.Find(t.Context(), reqA)
		require.Equal(t, cache.OutcomeHit, r.Outcome)
		r = lookup.Warm(t.Context(), reqA)
		require.Equal(t, cache.OutcomeHit, r.Outcome)
	}
	r := lookup.Find(t.Context(), cache.Request{Key: "key:b"})
	require.True(t, r.Stored)
}

// A lookup that joined one whose read found a record loads by itself.
func TestALookupThatJoinedOneThatFoundARecordIsAnswered(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	reading, read := make(chan struct{}), make(chan struct{})
	var begun atomic.Bool
	shared := &wrapped{Store: store}
	shared.before = func(_ context.Context, call string) error {
		if call == "get" && !begun.Swap(true) {
			close(reading)
			<-read
		}
		return nil
	}
	c := newCache(t, shared)
	src := saying(t, `{"n":2}`)
	lookup := newLookup(t, c, cache.LookupOptions{Source: src})
	var group sync.WaitGroup
	group.Go(func() {
		r := lookup.Find(t.Context(), reqA)
		assert.Equal(t, cache.OutcomeHit, r.Outcome)
	})
	<-reading
	for range 10 { // these find nothing, and join
		group.Go(func() {
			r := lookup.Find(t.Context(), reqA)
			assert.True(t, r.OK(), "%v %v", r.Outcome, r.Err)
		})
	}
	require.Eventually(t, func() bool { return shared.called("get") == 11 && c.Waiters(reqA.Key) == 11 }, 10*time.Second, time.Millisecond)
	require.NoError(t, store.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Hour))
	close(read)
	group.Wait()
	require.Zero(t, src.loads.Load())
	require.Zero(t, c.Waiters(reqA.Key))
}

// panicking is a source whose check of a record panics.
type panicking struct{ source }

func (*panicking) Current(context.Context, cache.Request, *cache.Record, time.Time) (*cache.Record, bool) {
	panic("expected")
}

func TestALookupThatPanicsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	c := newCache(t, &wrapped{Store: newStore(t)})
	src := new(panicking)
	src.load = saying(t, `{"n":1}`).load
	lookup := newLookup(t, c, cache.LookupOptions{Source: src, MaxConcurrent: 1})
	require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Hour))
	for range 3 {
		require.Panics(t, func() { lookup.Find(t.Context(), reqA) })
	}
	require.Zero(t, c.Waiters(reqA.Key))
	r := lookup.Find(t.Context(), cache.Request{Key: "key:b"})
	require.True(t, r.Stored, "the slot was given back")
}

// A lookup whose client leaves while the lease is taken gives it back.
func TestALeaseOfAClientThatLeftIsGivenBack(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	ctx, leave := context.WithCancel(t.Context())
	shared := &wrapped{Store: store, before: func(_ context.Context, call string) error {
		if call == "get" {
			leave() // while the store is read
		}
		return nil
	}}
	c := newCache(t, shared)
	lookup := newLookup(t, c, cache.LookupOptions{Source: &source{load: func(ctx context.Context, _ cache.Request, _ *cache.Record) (cache.Loaded, error) {
		<-ctx.Done()
		return cache.Loaded{}, ctx.Err()
	}}})
	r := lookup.Find(ctx, reqA)
	require.ErrorIs(t, r.Err, context.Canceled)
	requireNoLease(t, c, reqA.Key)
}

// A store that did not answer in time may have granted the lease.
func TestALeaseThatTheReadMayHaveTakenIsGivenBack(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	c := newCache(t, &lateStore{Store: store})
	r := newLookup(t, c, cache.LookupOptions{Source: saying(t, `{"n":1}`)}).Find(t.Context(), reqA)
	require.Equal(t, cache.OutcomeMiss, r.Outcome)
	require.False(t, r.Stored)
	requireNoLease(t, c, reqA.Key)
}

// lateStore grants leases and reports a failure.
type lateStore struct{ cache.Store }

func (s *lateStore) GetOrAcquire(ctx context.Context, key string, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	token, _, err := s.Store.GetOrAcquire(ctx, key, ttl, tagged)
	if err == nil {
		err = cache.ErrUnavailable
	}
	return token, cache.Entry{}, err
}

// The deadline of the request that began a load is not that of the load.
func TestALoadOutlivesTheDeadlineOfTheRequestThatBeganIt(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} { // with a lead and without
		g := newGate()
		c := newCache(t, &wrapped{Store: newStore(t)})
		lookup := newLookup(t, c, cache.LookupOptions{Source: g, MaxConcurrent: 2})
		var group sync.WaitGroup
		if busy {
			for _, key := range []string{"key:b", "key:c"} {
				group.Go(func() { lookup.Find(t.Context(), cache.Request{Key: key}) })
				<-g.entered
			}
		}
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		left := make(chan struct{})
		go func() {
			defer close(left)
			r := lookup.Find(short, reqA)
			assert.ErrorIs(t, r.Err, context.DeadlineExceeded)
		}()
		require.Eventually(t, func() bool { return c.Waiters(reqA.Key) == 1 }, 10*time.Second, time.Millisecond)
		answered := make(chan cache.Result)
		go func() { answered <- lookup.Find(t.Context(), reqA) }()
		<-left
		if busy {
			g.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
			g.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
		}
		<-g.entered
		g.answer <- cache.Loaded{Record: decode(t, `{"n":1}`)}
		r := <-answered
		require.True(t, r.OK(), "%v", r.Err)
		group.Wait()
	}
}

// A record whose near copy has only become too old is read, and no lease is wanted.
func TestACopyThatIsTooOldIsOnlyReadAgain(t *testing.T) {
	t.Parallel()
	store := &watched{wrapped: wrapped{Store: newStore(t)}}
	c := cache.New(store, cache.NewStats())
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	c.EnableNear(near.Options{TTL: time.Millisecond})
	lookup := newLookup(t, c, cache.LookupOptions{Source: saying(t, `{"n":2}`)})
	require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Hour))
	r := lookup.Find(t.Context(), reqA)
	require.Equal(t, "memory", r.From)
	require.Equal(t, 1, store.called("get or acquire"))
	require.Eventually(t, func() bool {
		before := store.called("get")
		r := lookup.Find(t.Context(), reqA)
		return r.From == "memory" && store.called("get") == before+1
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, store.called("get or acquire"))
	_, err := store.Delete(t.Context(), reqA.Key) // unnoticed
	require.NoError(t, err)
	require.Eventually(t, func() bool { r := lookup.Find(t.Context(), reqA); return r.Stored }, 10*time.Second, time.Millisecond)
}

// watched is a store whose copies are trusted, which counts both ways of reading.
type watched struct{ wrapped }

func (w *watched) Watch(_ string, sink near.Sink) { sink.SetTrust(near.Coherent) }

func (w *watched) GetOrAcquire(ctx context.Context, key string, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	if err := w.call(ctx, "get or acquire"); err != nil {
		return "", cache.Entry{}, err
	}
	return w.Store.GetOrAcquire(ctx, key, ttl, tagged)
}

// A hit that finds its record in the store may refresh it, although its own slot was
// the only one.
func TestAHitOfTheStoreLeavesItsSlotToTheRefresh(t *testing.T) {
	t.Parallel()
	c := newCache(t, &wrapped{Store: newStore(t)})
	src := new(slowCheck)
	src.load = saying(t, `{"n":2}`).load
	lookup := newLookup(t, c, cache.LookupOptions{Source: src, MaxConcurrent: 1})
	src.begin = func() {
		r := lookup.Find(t.Context(), cache.Request{Key: "key:other"})
		require.True(t, r.Stored, "%v", r.Err)
	}
	require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, `{"n":1}`), time.Hour))
	r := lookup.Find(t.Context(), reqA)
	require.Equal(t, cache.OutcomeHit, r.Outcome)
}

// slowCheck is a source whose check of a record takes its time.
type slowCheck struct {
	source
	begin func()
}

func (s *slowCheck) Current(_ context.Context, _ cache.Request, record *cache.Record, _ time.Time) (*cache.Record, bool) {
	s.begin()
	return record, true
}
