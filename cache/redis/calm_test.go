package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// load looks a key up again and again, from several goroutines, until it is
// stopped, and counts what failed.
type load struct {
	total, failed atomic.Int64
	lastFailure   atomic.Int64 // when it began, Unix nanoseconds
	stop          func()
}

func startLoad(in *instance, readers int, key string) *load {
	l := new(load)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				began := time.Now()
				r := in.look(key)
				l.total.Add(1)
				if r.Outcome == cache.OutcomeError {
					l.failed.Add(1)
					l.lastFailure.Store(began.UnixNano())
				}
			}
		})
	}
	l.stop = sync.OnceFunc(func() { close(stop); group.Wait() })
	return l
}

func (l *load) share() float64 { return float64(l.failed.Load()) / float64(l.total.Load()) }

// A server that accepts no connection is tried about once a second by each process,
// however many requests there are.
func TestServerThatRefusesConnectionsIsDialedSeldom(t *testing.T) {
	for name, c := range map[string]struct {
		refuse, admit func(t *testing.T, server *redistest.Server)
	}{
		"password is changed": {
			refuse: func(t *testing.T, server *redistest.Server) {
				require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "web", "resetpass", ">other").Err())
			},
			admit: func(t *testing.T, server *redistest.Server) {
				require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "web", "resetpass", ">secret").Err())
			},
		},
		"user is gone": {
			refuse: func(t *testing.T, server *redistest.Server) {
				require.NoError(t, server.Client().Do(t.Context(), "ACL", "DELUSER", "web").Err())
			},
			admit: func(t *testing.T, server *redistest.Server) {
				require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "web", "on", ">secret", "allkeys", "allchannels", "+@all").Err())
			},
		},
		"too many clients": {
			refuse: func(t *testing.T, server *redistest.Server) {
				require.NoError(t, server.Client().ConfigSet(t.Context(), "maxclients", "1").Err())
			},
			admit: func(t *testing.T, server *redistest.Server) {
				require.NoError(t, server.Client().ConfigSet(t.Context(), "maxclients", "10000").Err())
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartWith(t, redistest.Options{Users: []string{"web on >secret ~* &* +@all"}})
			p := newProxy(t, server.Addr())
			in := newFleet(t, 1, Options{Addresses: []string{p.addr()}, Username: "web", Password: "secret"}, cache.LookupOptions{Strict: true})[0]
			require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
			in.warm(t, user)
			noise := startNoise(t)
			l := startLoad(in, 20, user)
			defer l.stop()
			c.refuse(t, server)
			p.cut()
			const watched = 6 * time.Second
			before := p.accepted.Load()
			time.Sleep(watched) // to count attempts
			attempts := p.accepted.Load() - before
			t.Logf("%d attempts in %s", attempts, watched)
			require.LessOrEqual(t, attempts, int64(parallelHandshakes+watched/time.Second))
			require.Positive(t, attempts)
			c.admit(t, server)
			back := time.Now()
			in.warm(t, user)
			t.Logf("well again after %s", time.Since(back))
			require.LessOrEqual(t, time.Since(back), 2*time.Second+noise.quantile(1))
		})
	}
}

// A pool whose connections have all died without a sign is found out by the
// first of them that is used.
func TestDeadConnectionsAreDroppedTogether(t *testing.T) {
	for _, watched := range []bool{true, false} {
		t.Run(fmt.Sprint("near copies ", watched), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			p := newProxy(t, server.Addr())
			s := open(t, Options{Addresses: []string{p.addr()}, PoolSize: 50})
			if watched {
				m := newMemo()
				s.Watch("session:user:", m)
				require.Eventually(t, func() bool { return m.until.Load() > 0 }, patience, time.Millisecond)
			}
			var group sync.WaitGroup
			for range 50 {
				group.Go(func() { s.primary.BLPop(context.Background(), 200*time.Millisecond, "nothing") })
			}
			group.Wait()
			require.Eventually(t, func() bool { return s.Pool().Idle >= 40 }, patience, time.Millisecond)
			noise := startNoise(t)
			p.freeze()
			frozen := time.Now()
			var last time.Time
			for until := frozen.Add(4 * time.Second); time.Now().Before(until); {
				if get(s, "k") != nil {
					last = time.Now()
				}
				time.Sleep(5 * time.Millisecond) // as requests come
			}
			t.Logf("failed until %s after the connections had died", max(0, last.Sub(frozen)))
			require.LessOrEqual(t, last.Sub(frozen), 2*time.Second+noise.quantile(1))
		})
	}
}

// Waiting for a connection is no failure of the server, even if it is in vain. Only
// callers that had a connection may count: fewer than the failures that open a breaker.
func TestBurstOnAHealthyServerDoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	const connections, callers, timeout = 2, 200, 2 * time.Second
	server := redistest.Start(t)
	p := newProxy(t, server.Addr())
	s := open(t, Options{Addresses: []string{p.addr()}, PoolSize: connections})
	require.NoError(t, get(s, "k"))
	require.Greater(t, s.options.BreakerFailures, connections)
	p.delay.Store(int64(20 * time.Millisecond))
	for round := range 2 {
		var group sync.WaitGroup
		for i := range callers {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				_, _ = s.Touch(ctx, fmt.Sprint("session:user:", round, "-", i), nil, time.Minute) // shares no round trip
			})
		}
		group.Wait()
		require.Equal(t, "closed", s.Pool().Breaker, "%v", breakerOf(t, s).cause.Load().cause)
	}
	require.Positive(t, s.Pool().Timeouts)
}

func TestWaitingInVainForAConnectionIsAnErrorOfThePool(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, Options{Addresses: []string{server.Addr()}, PoolSize: 1, BreakerFailures: 1, PoolTimeout: time.Hour})
	require.NoError(t, get(s, "k"))
	var group sync.WaitGroup
	group.Go(func() { s.primary.BLPop(context.WithoutCancel(t.Context()), time.Second, "list") })
	require.Eventually(t, func() bool {
		n, err := server.Client().InfoMap(t.Context(), "clients").Result()
		return err == nil && n["Clients"]["blocked_clients"] == "1"
	}, patience, time.Millisecond)
	err := get(s, "k")
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.ErrorIs(t, err, errNoTurn)
	require.False(t, errors.Is(err, context.DeadlineExceeded))
	require.Equal(t, "closed", s.Pool().Breaker)
	require.Positive(t, s.Pool().Timeouts)
	group.Wait()
}

// The network is away for a fifth of the time. What fails is no more than that,
// and a tenth for what it takes to notice.
func TestFlappingNetworkFailsNoMoreThanTheOutage(t *testing.T) {
	for name, away := range map[string]func(p *proxy, away bool){
		"connections are refused": func(p *proxy, away bool) {
			p.refuse.Store(away)
			if away {
				p.cut()
			}
		},
		"connections are silent": func(p *proxy, away bool) {
			if away {
				p.freeze()
			}
			p.silent.Store(away)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			p := newProxy(t, server.Addr())
			in := newFleet(t, 1, Options{Addresses: []string{p.addr()}}, cache.LookupOptions{Strict: true})[0]
			require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
			in.warm(t, user)
			l := startLoad(in, 10, user)
			defer l.stop()
			for range 4 {
				away(p, true)
				time.Sleep(300 * time.Millisecond) // the outage
				away(p, false)
				time.Sleep(1200 * time.Millisecond) // no outage
			}
			l.stop()
			t.Logf("%.1f%% of %d failed: %d", 100*l.share(), l.total.Load(), l.failed.Load())
			require.LessOrEqual(t, l.share(), .3)
		})
	}
}

// What was begun while the network was away hangs for as long as dial_timeout
// says. It is abandoned when a later connection is made.
func TestHandshakesThatHangDoNotDelayRecovery(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProxy(t, server.Addr())
	in := newFleet(t, 1, Options{Addresses: []string{p.addr()}, DialTimeout: time.Minute, PoolSize: 20}, cache.LookupOptions{Strict: true})[0]
	require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
	in.warm(t, user)
	noise := startNoise(t)
	p.silent.Store(true)
	p.freeze()
	l := startLoad(in, 50, user)
	defer l.stop()
	require.Eventually(t, func() bool { return in.store.Pool().Breaker != "closed" }, patience, time.Millisecond)
	time.Sleep(time.Second) // the outage
	p.silent.Store(false)
	back := time.Now()
	require.Eventually(t, func() bool { return get(in.store, user) == nil }, patience, time.Millisecond)
	t.Logf("well again after %s", time.Since(back))
	require.LessOrEqual(t, time.Since(back), 2*time.Second+noise.quantile(1))
	in.warm(t, user)
	require.LessOrEqual(t, time.Since(back), 2*time.Second+noise.quantile(1), "near copies")
}

// A command whose connection is abandoned is carried out on another one.
func TestACommandWhoseHandshakeHangsIsSentOnAnotherConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProxy(t, server.Addr())
	p.silent.Store(true)
	store := open(t, Options{Addresses: []string{p.addr()}, DialTimeout: time.Minute, ReadTimeout: time.Minute})
	require.NoError(t, server.Client().Set(t.Context(), user, `{}`, time.Hour).Err())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	hung := make(chan error, 1)
	began := time.Now()
	go func() { _, err := store.Get(ctx, user); hung <- err }()
	require.Eventually(t, func() bool { return p.accepted.Load() > 0 && time.Since(began) > 2*stuckAfter }, patience, time.Millisecond)
	p.freeze()
	p.silent.Store(false)
	require.NoError(t, get(store, user))
	require.NoError(t, <-hung)
}
