package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// named is a call whose result is the name of its key.
type named struct {
	key, result string
	bytes       int
}

func (n *named) size() int { return n.bytes }

// slowReads is a gatherer whose round trips end when they are told to.
type slowReads struct {
	*gatherer[*named]
	t       *testing.T
	ctx     context.Context // outlives the test, whose readers may too
	trips   chan trip
	readers sync.WaitGroup
}

type trip struct {
	keys []string
	end  chan error
}

func newSlowReads(t *testing.T) *slowReads {
	s := &slowReads{t: t, ctx: context.WithoutCancel(t.Context()), trips: make(chan trip, 100)}
	s.gatherer = &gatherer[*named]{trips: readTrips, send: func(ctx context.Context, calls []*named) error {
		trip := trip{end: make(chan error)}
		for _, c := range calls {
			trip.keys = append(trip.keys, c.key)
			c.result = c.key
		}
		s.trips <- trip
		select {
		case err := <-trip.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	t.Cleanup(func() {
		s.readers.Wait()
		s.close()
		require.Empty(t, s.trips)
		require.Zero(t, s.underWay, "round trips are counted that have ended")
		require.Empty(t, s.waiting)
	})
	return s
}

// start reads a key, and wants its result or an error.
func (s *slowReads) start(ctx context.Context, key string, want error) {
	s.startSized(ctx, key, 0, want)
}

func (s *slowReads) startSized(ctx context.Context, key string, size int, want error) {
	s.readers.Go(func() {
		c := &named{key: key, bytes: size}
		err := s.do(ctx, c)
		if want != nil {
			assert.ErrorIs(s.t, err, want)
		} else if assert.NoError(s.t, err) {
			assert.Equal(s.t, key, c.result)
		}
	})
}

// fill takes all round trips there may be, and returns them.
func (s *slowReads) fill() []trip {
	var trips []trip
	for i := range readTrips {
		s.start(s.ctx, fmt.Sprint("first", i), nil)
		trips = append(trips, <-s.trips)
		require.Len(s.t, trips[i].keys, 1, "a read that need not wait goes alone")
	}
	return trips
}

func end(trips ...trip) {
	for _, trip := range trips {
		trip.end <- nil
	}
}

func (s *slowReads) gather(ctx context.Context, key string, want error) {
	s.gatherSized(ctx, key, 0, want)
}

func (s *slowReads) gatherSized(ctx context.Context, key string, size int, want error) {
	waiting := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, batch := range s.waiting {
			n += len(batch.calls)
		}
		return n
	}
	before := waiting()
	s.startSized(ctx, key, size, want)
	require.Eventually(s.t, func() bool { return waiting() != before }, 5*time.Second, time.Millisecond)
}

func TestReadsUnderLoadGoTogether(t *testing.T) {
	t.Parallel()
	s := newSlowReads(t)
	first := s.fill()
	for i := range 10 {
		s.gather(s.ctx, fmt.Sprint("later", i), nil)
	}
	end(first[0])
	together := <-s.trips
	require.Len(t, together.keys, 10)
	end(together)
	end(first[1:]...)
}

func TestAFailedRoundTripIsOneForAllInIt(t *testing.T) {
	t.Parallel()
	s := newSlowReads(t)
	first := s.fill()
	failure := errors.New("failed")
	s.gather(s.ctx, "a", failure)
	s.gather(s.ctx, "b", failure)
	end(first[0])
	(<-s.trips).end <- failure
	end(first[1:]...)
}

func TestACanceledReadDoesNotCancelOthersInItsBatch(t *testing.T) {
	t.Parallel()
	s := newSlowReads(t)
	first := s.fill()
	leaving, leave := context.WithCancel(s.ctx)
	s.gather(leaving, "a", context.Canceled)
	s.gather(s.ctx, "b", nil)
	leave()
	end(first...)
	end(<-s.trips)
}

func TestReadsThatHaveWaitedTooLongAreNotSent(t *testing.T) {
	t.Parallel()
	s := newSlowReads(t)
	first := s.fill()
	short, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
	defer cancel()
	s.gather(short, "a", context.DeadlineExceeded)
	<-short.Done()
	end(first...)
}

func TestReadThatWaitsInVainReportsTheStoreUnavailable(t *testing.T) {
	t.Parallel()
	s := newSlowReads(t)
	first := s.fill()
	short, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	err := s.do(short, &named{key: "a"})
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	end(first...)
}

func TestCloseBesideConcurrentReads(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for range 20 {
		s, err := New(at(server), cache.NewStats(), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		var readers sync.WaitGroup
		var reads atomic.Int64
		for range 64 {
			readers.Go(func() {
				for {
					_, err := s.Get(t.Context(), "k")
					reads.Add(1)
					if errors.Is(err, cache.ErrClosed) {
						return
					}
					assert.NoError(t, err)
				}
			})
		}
		require.Eventually(t, func() bool { return reads.Load() > 200 }, patience, time.Millisecond)
		require.NoError(t, s.Close())
		readers.Wait()
	}
}

func TestMoreReadsThanFitIntoOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := newSlowReads(t)
	first := s.fill()
	for i := range pipelineKeys + 1 {
		s.gather(s.ctx, fmt.Sprint("later", i), nil)
	}
	require.Empty(t, s.trips, "no more round trips than there may be")
	end(first...)
	full, last := <-s.trips, <-s.trips
	if len(full.keys) == 1 {
		full, last = last, full
	}
	require.Len(t, full.keys, pipelineKeys)
	end(full, last)
}

func TestLargeCallsShareNoRoundTrip(t *testing.T) {
	t.Parallel()
	s := newSlowReads(t)
	first := s.fill()
	s.gatherSized(s.ctx, "large", pipelineBytes, nil)
	s.gatherSized(s.ctx, "small", 1, nil)
	s.gatherSized(s.ctx, "other", 1, nil)
	end(first...)
	large, small := <-s.trips, <-s.trips
	if len(large.keys) != 1 {
		large, small = small, large
	}
	require.Equal(t, []string{"large"}, large.keys)
	require.Equal(t, []string{"small", "other"}, small.keys)
	end(large, small)
}

// A caller whose time is short does not wait as long as those that joined its round
// trip may.
func TestACallerWaitsNoLongerForThoseThatJoinedIt(t *testing.T) {
	t.Parallel()
	for joined := false; !joined; {
		release := make(chan struct{})
		var mixed atomic.Bool
		g := &gatherer[*named]{trips: 1000, send: func(ctx context.Context, calls []*named) error {
			if calls[0].key == "short" && slices.ContainsFunc(calls, func(c *named) bool { return c.key == "long" }) {
				mixed.Store(true)
			}
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		var short, long sync.WaitGroup
		begin := make(chan struct{})
		for range 16 {
			short.Go(func() {
				<-begin
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				assert.Error(t, g.do(ctx, &named{key: "short"}))
			})
			long.Go(func() {
				<-begin
				assert.NoError(t, g.do(context.WithoutCancel(t.Context()), &named{key: "long"}))
			})
		}
		close(begin)
		left := make(chan struct{})
		go func() { short.Wait(); close(left) }()
		select {
		case <-left:
		case <-time.After(patience):
			t.Error("a caller waits for the others")
		}
		close(release)
		long.Wait()
		<-left
		g.close()
		require.Zero(t, g.underWay)
		joined = mixed.Load() || t.Failed()
	}
}

// refusing is a hook that makes the answer to each read an error, as a server does
// that is busy for a moment.
type refusing struct{ goredis.Hook }

func (refusing) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if cmd.Name() == "getrange" {
				cmd.SetErr(busy{})
			}
		}
		return err
	}
}

func (refusing) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (refusing) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

type busy struct{}

func (busy) Error() string { return "BUSY expected" }
func (busy) RedisError()   {}

// A read that fails does not take the token away from a lease of the same round trip.
func TestALeaseBesideAReadThatFailsIsKnown(t *testing.T) {
	t.Parallel()
	s := open(t, at(redistest.Start(t)))
	s.primary.AddHook(refusing{})
	a, err := s.newAcquiring("b", nil, time.Hour, false, false)
	require.NoError(t, err)
	calls := []*readCall{{key: "a"}, {key: "b", acquire: a.call}}
	require.NoError(t, s.sendReads(t.Context(), calls))
	require.ErrorContains(t, calls[0].got.Err, "BUSY")
	require.NoError(t, calls[1].got.Err)
	token, _, _, err := a.result(t.Context())
	require.NoError(t, err)
	filled, err := s.Fill(t.Context(), "b", token, nil, versioned(1), nil, time.Hour)
	require.NoError(t, err)
	require.True(t, filled)
}
