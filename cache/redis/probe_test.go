package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// Callers who find no free connection say nothing about the node: a burst
// must not cut it off for all the others.
func TestFullPoolDoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"refuses": {PoolSize: 1, MaxActiveConns: 1, PoolTimeout: time.Millisecond},
		"waits":   {PoolSize: 1, PoolTimeout: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			o.Addresses, o.BreakerFailures, o.BreakerCoolDown, o.MaxRetries = []string{server.Addr()}, 1, time.Hour, -1
			s := open(t, o)
			// the first health check may have the only connection
			require.Eventually(t, func() bool { return get(s, "k") == nil }, patience, time.Millisecond)
			var group sync.WaitGroup
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			group.Go(func() { s.primary.BLPop(ctx, 0, "list") }) // takes the only connection
			blocked := func() bool {
				n, err := server.Client().InfoMap(ctx, "clients").Result()
				require.NoError(t, err)
				return n["Clients"]["blocked_clients"] == "1"
			}
			require.Eventually(t, blocked, patience, time.Millisecond)
			for range 20 {
				err := get(s, "k")
				require.True(t, errors.Is(err, goredis.ErrPoolTimeout) || errors.Is(err, goredis.ErrPoolExhausted), "%v", err)
			}
			require.Equal(t, "closed", s.Pool().Breaker)
			require.NoError(t, server.Client().LPush(ctx, "list", "x").Err())
			group.Wait()
			require.NoError(t, get(s, "k"))
		})
	}
}

// porter is a proxy that lets everybody log in, and then never answers.
func porter(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(func() { l.Close() })
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					command, err := readCommand(r)
					switch {
					case err != nil:
						return
					case command == "HELLO":
						_, _ = io.WriteString(conn, "-ERR unknown command 'HELLO'\r\n")
					case command == "AUTH", command == "SELECT":
						_, _ = io.WriteString(conn, "+OK\r\n")
					}
				}
			})
		}
	})
	return l.Addr().String()
}

func readCommand(r *bufio.Reader) (name string, err error) {
	var words, length int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &words); err != nil {
		return "", err
	}
	for i := range words {
		if _, err := fmt.Fscanf(r, "$%d\r\n", &length); err != nil {
			return "", err
		}
		word := make([]byte, length+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return "", err
		}
		if i == 0 {
			name = strings.ToUpper(string(word[:length]))
		}
	}
	return name, nil
}

// A server that answers the login and nothing else is as unusable as one that does not
// listen.
func TestAServerThatOnlyAnswersTheLoginOpensTheBreaker(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addresses: []string{porter(t)}, Password: "secret", BreakerFailures: 3, BreakerCoolDown: time.Hour, MaxRetries: -1})
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := s.Get(ctx, "k")
		cancel()
		require.ErrorIs(t, err, cache.ErrUnavailable)
	}
	require.ErrorIs(t, get(s, "k"), errBreakerOpen)
}

// breakerOf is the only breaker of a store.
func breakerOf(t *testing.T, s *Store) *breaker {
	s.nodeBreakers.mu.Lock()
	defer s.nodeBreakers.mu.Unlock()
	require.Len(t, s.nodeBreakers.nodes, 1)
	for _, n := range s.nodeBreakers.nodes {
		return n
	}
	return nil
}

func TestCallsPastTheirDeadlineDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addresses: []string{redistest.Start(t).Addr()}, BreakerFailures: 1, BreakerCoolDown: time.Hour})
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for range 5 {
		_, err := s.Get(late, "k")
		require.ErrorIs(t, err, cache.ErrUnavailable)
	}
	require.NoError(t, get(s, "k"))
}

// Long work has no deadline, but as the probe of a half-open breaker it delays all other
// calls.
func TestProbeEndsSoonWhateverItsCallerWaits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, Options{
		Addresses: []string{server.Addr()}, BreakerFailures: 1, BreakerCoolDown: time.Millisecond,
		DialTimeout: time.Hour, ReadTimeout: time.Hour, WriteTimeout: time.Hour,
	})
	require.NoError(t, get(s, "k"))
	server.Pause()
	require.ErrorIs(t, get(s, "k"), cache.ErrUnavailable)
	for range 3 { // a call without a deadline is the one that is let through
		require.Eventually(t, func() bool {
			err := s.primary.Ping(t.Context()).Err()
			return err != nil && !errors.Is(err, errBreakerOpen)
		}, patience, time.Millisecond)
	}
	server.Continue()
	require.Eventually(t, func() bool { return get(s, "k") == nil }, patience, time.Millisecond)
}

// A caller that leaves neither heals nor harms, and does not block the next.
func TestProbeWhoseCallerLeavesMakesRoomForTheNext(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, Options{Addresses: []string{server.Addr()}, BreakerFailures: 1, BreakerCoolDown: time.Millisecond})
	n := breakerOf(t, s)
	_, done, err := n.allow(t.Context())
	require.NoError(t, err)
	done(context.DeadlineExceeded)
	for range 5 {
		require.Eventually(t, func() bool {
			var err error
			_, done, err = n.allow(t.Context())
			return err == nil
		}, patience, time.Millisecond)
		done(context.Canceled)
	}
	require.Eventually(t, func() bool { return get(s, "k") == nil }, patience, time.Millisecond)
	require.Equal(t, "closed", s.Pool().Breaker)
}

// Without lookups, the state is probed all the same, so that the
// first who come afterwards are not refused because one of them has to try.
func TestBreakerFindsOutWithoutTraffic(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]func(t *testing.T) (Options, []*redistest.Server){
		"simple": func(t *testing.T) (Options, []*redistest.Server) {
			server := redistest.Start(t)
			return at(server), []*redistest.Server{server}
		},
		"cluster": func(t *testing.T) (Options, []*redistest.Server) {
			cluster := redistest.StartCluster(t, 3, 0)
			return Options{Addresses: cluster.Addrs(), ClientType: Cluster}, cluster.Nodes()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options, servers := o(t)
			options.BreakerCoolDown, options.HealthCheckInterval = 100*time.Millisecond, time.Hour
			s := open(t, options)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for i := range 60 {
				_, err := s.Get(ctx, fmt.Sprint("k", i))
				require.NoError(t, err)
			}
			servers[0].Kill()
			require.Eventually(t, func() bool {
				for i := range 60 {
					_ = get(s, fmt.Sprint("k", i))
				}
				return s.Pool().Breaker == "open"
			}, patience, time.Millisecond)
			servers[0].Restart()
			require.Eventually(t, func() bool {
				for _, server := range servers {
					info, err := server.Client().ClusterInfo(t.Context()).Result()
					if err == nil && !strings.Contains(info, "cluster_state:ok") {
						return false // the others do not know yet that it is back
					}
				}
				return s.Pool().Breaker == "closed"
			}, patience, time.Millisecond)
			var group sync.WaitGroup
			for i := range 20 {
				group.Go(func() {
					if _, err := s.Get(ctx, fmt.Sprint("k", i)); errors.Is(err, errBreakerOpen) {
						t.Error("refused though the node is back")
					}
				})
			}
			group.Wait()
		})
	}
}

func TestBreakersOfNodesThatAreGoneDoNotCount(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addresses: []string{redistest.Start(t).Addr()}, BreakerCoolDown: time.Millisecond, BreakerFailures: 1})
	gone := goredis.NewClient(&goredis.Options{Addr: ports.Addr(t), MaxRetries: -1})
	s.guard(gone, "gone", writes)
	require.Error(t, gone.Ping(t.Context()).Err())
	require.NotEqual(t, "closed", s.Pool().Breaker)
	require.NoError(t, gone.Close()) // as go-redis does with a node that has left the cluster
	require.Eventually(t, func() bool { return s.Pool().Breaker == "closed" }, patience, time.Millisecond)
	breakerOf(t, s)
}
