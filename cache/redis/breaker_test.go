package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func get(s *Store, key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	_, err := s.Get(ctx, key)
	return err
}

func TestBreakerOpensAndClosesWithTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	logs := new(logMemo)
	s, err := New(Options{Addresses: []string{server.Addr()}, BreakerCoolDown: 100 * time.Millisecond}, cache.NewStats(), slog.New(logs))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, get(s, "k"))
	require.Equal(t, "closed", s.Pool().Breaker)

	server.Kill()
	require.Eventually(t, func() bool {
		err := get(s, "k")
		require.ErrorIs(t, err, cache.ErrUnavailable)
		return errors.Is(err, errBreakerOpen)
	}, 10*time.Second, time.Millisecond)
	require.NotEqual(t, "closed", s.Pool().Breaker)

	server.Restart()
	back := time.Now()
	require.Eventually(t, func() bool { return get(s, "k") == nil }, 10*time.Second, time.Millisecond)
	t.Logf("well again %s after the server", time.Since(back))
	require.Equal(t, "closed", s.Pool().Breaker)
	count := make(map[string]int)
	for _, line := range logs.all() {
		count[line]++
	}
	require.Equal(t, 1, count["warn "+logBreakerOpen], "logged once, however often it was tried")
	require.Equal(t, 1, count["info "+logBreakerClosed])
}

func TestOpenBreakerCostsNoNetwork(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, Options{Addresses: []string{server.Addr()}, BreakerFailures: 1, BreakerCoolDown: time.Hour})
	require.Eventually(t, s.Up, 10*time.Second, time.Millisecond) // else its first ping is still being tried
	server.Kill()
	require.Error(t, get(s, "k"))
	require.Eventually(t, func() bool { return errors.Is(get(s, "k"), errBreakerOpen) }, 10*time.Second, time.Millisecond)
	before := s.primary.PoolStats()
	for range 1000 {
		require.ErrorIs(t, get(s, "k"), errBreakerOpen)
	}
	require.Equal(t, before.Misses, s.primary.PoolStats().Misses, "connections were asked for")
	require.Equal(t, "open", s.Pool().Breaker)
}

func TestRefusalsDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, Options{Addresses: []string{server.Addr()}, BreakerFailures: 1})
	require.NoError(t, server.Client().LPush(t.Context(), "list", "x").Err())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		require.ErrorIs(t, get(s, "list"), cache.ErrInvalidRecord)
		_, err := s.Get(ctx, "k")
		require.Error(t, err)
	}
	require.NoError(t, get(s, "k"))
	require.Equal(t, "closed", s.Pool().Breaker)
}

func TestBreakerCanBeOff(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addresses: []string{ports.Addr(t)}, BreakerOff: true})
	for range 20 {
		err := get(s, "k")
		require.ErrorIs(t, err, cache.ErrUnavailable)
		require.NotErrorIs(t, err, errBreakerOpen)
	}
}

func TestDeadShardDoesNotCutOffTheOthers(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	s := open(t, Options{Addresses: cluster.Addrs(), ClientType: Cluster, BreakerCoolDown: time.Hour})
	well := func() (n int) {
		for i := range 60 {
			if get(s, fmt.Sprint("k", i)) == nil {
				n++
			}
		}
		return n
	}
	require.Equal(t, 60, well())
	require.NoError(t, cluster.Nodes()[0].Client().Do(t.Context(), "CONFIG", "SET", "cluster-require-full-coverage", "no").Err())
	for _, node := range cluster.Nodes()[1:] {
		require.NoError(t, node.Client().Do(t.Context(), "CONFIG", "SET", "cluster-require-full-coverage", "no").Err())
	}
	cluster.Nodes()[0].Kill()
	for range 3 {
		n := well()
		require.Greater(t, n, 20, "a dead shard took others with it")
		require.Less(t, n, 60)
	}
	require.Equal(t, "open", s.Pool().Breaker)
}

func TestNothingLeaksOverManyOutages(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, Options{Addresses: []string{server.Addr()}, PoolSize: 8, BreakerCoolDown: 20 * time.Millisecond})
	cycles := 10
	if soak() {
		cycles = 50
	}
	require.NoError(t, get(s, "k"))
	before := runtime.NumGoroutine()
	for range cycles {
		server.Kill()
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 20 {
					_ = get(s, "k")
				}
			})
		}
		group.Wait()
		server.Restart()
		require.Eventually(t, func() bool { return get(s, "k") == nil }, 10*time.Second, time.Millisecond)
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 10*time.Second, 10*time.Millisecond)
	require.LessOrEqual(t, s.Pool().Total, uint32(8))
}

// go test -bench OpenBreaker ./cache/redis; a lookup while Redis is down.
func BenchmarkOpenBreaker(b *testing.B) {
	s, err := New(Options{Addresses: []string{"127.0.0.1:1"}, BreakerFailures: 1, BreakerCoolDown: time.Hour}, cache.NewStats(), slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	defer s.Close()
	require.Eventually(b, func() bool { return errors.Is(get(s, "k"), errBreakerOpen) }, 20*time.Second, time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		_ = get(s, "k")
	}
}

// A server that has lost its cluster refuses keys and answers pings: its breaker
// must not close and open again with each of them.
func TestAPingDoesNotCloseTheBreakerOfAServerThatIsNotReady(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		failure       error
		opens, closes bool
	}{
		{replyError("CLUSTERDOWN The cluster is down"), true, false},
		{replyError("MASTERDOWN Link with MASTER is down"), true, false},
		{&noAnswerError{}, true, true},
		{replyError("CLUSTERDOWN Hash slot not served"), false, true},
		{replyError("NOPERM no rights"), false, true},
	} {
		b := newBreakers(&Options{BreakerFailures: 5, BreakerCoolDown: time.Hour}, slog.New(slog.DiscardHandler))
		n := b.of(nil, "a:1", writes)
		for range 5 {
			_, done, err := n.allow(t.Context())
			require.NoError(t, err)
			done(test.failure)
		}
		require.Equal(t, test.opens, b.state() == "open", "%v", test.failure)
		b.answered("a:1")
		require.Equal(t, test.closes, b.state() == "closed", "%v", test.failure)
	}
}
