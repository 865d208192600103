package redis

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/clock"
)

// deadline is what a request may wait; slack is what a busy machine adds.
const (
	deadline = 200 * time.Millisecond
	slack    = 2 * time.Second
)

// operations are all that ask the server.
func operations(s *Store) map[string]func(context.Context) error {
	r := cache.AbsentRecord()
	return map[string]func(context.Context) error{
		"get":            func(ctx context.Context) error { _, err := s.Get(ctx, "k"); return err },
		"get many":       func(ctx context.Context) error { _, err := s.GetMany(ctx, []string{"k", "l"}); return err },
		"set":            func(ctx context.Context) error { return s.Set(ctx, "k", r, ttl) },
		"touch":          func(ctx context.Context) error { _, err := s.Touch(ctx, "k", nil, ttl); return err },
		"delete":         func(ctx context.Context) error { _, err := s.Delete(ctx, "k"); return err },
		"prefix":         func(ctx context.Context) error { _, err := s.DeletePrefix(ctx, "k"); return err },
		"scan":           func(ctx context.Context) error { _, _, err := s.Scan(ctx, "k", "", 10); return err },
		"get or acquire": func(ctx context.Context) error { _, _, err := s.GetOrAcquire(ctx, "k", ttl, false); return err },
		"acquire":        func(ctx context.Context) error { _, _, err := s.Acquire(ctx, "k", nil, ttl, false); return err },
		"fill":           func(ctx context.Context) error { _, err := s.Fill(ctx, "k", "t", nil, r, nil, ttl); return err },
		"drop tag":       func(ctx context.Context) error { return s.DropTag(ctx, "t") },
		"release":        func(ctx context.Context) error { return s.Release(ctx, "k", "t") },
		"ping":           s.Ping,
		"info":           func(ctx context.Context) error { _, err := s.Info(ctx); return err },
	}
}

// requireUnavailable checks that no operation outlasts its context, and that
// each says that the store is of no use.
func requireUnavailable(t *testing.T, s *Store) {
	t.Helper()
	for name, operation := range operations(s) {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		started := time.Now()
		err := operation(ctx)
		cancel()
		require.ErrorIs(t, err, cache.ErrUnavailable, name)
		require.Less(t, time.Since(started), deadline+slack, name)
	}
	started := time.Now()
	require.NotNil(t, s.Pool())
	require.Less(t, time.Since(started), slack)
}

// silentAddr is an address where connections are taken and never answered.
func silentAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]func(*testing.T) string{"closed": func(t *testing.T) string { return ports.Addr(t) }, "silent": silentAddr} {
		for kind, options := range map[string]Options{
			"simple":                {},
			"tls":                   {TLS: &TLS{}},
			"failover":              {MasterName: "m"},
			"failover and replicas": {MasterName: "m", ReadFrom: Replicas},
			"cluster":               {ClientType: Cluster},
			"cluster and nearest":   {ClientType: Cluster, ReadFrom: Nearest},
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				options.Addresses = []string{addr(t)}
				s := open(t, options)
				requireUnavailable(t, s)
				require.False(t, s.Up())
			})
		}
	}
}

func TestAServerThatHangsIsUnavailableUntilItGoesOn(t *testing.T) {
	t.Parallel()
	t.Run("simple", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		testHanging(t, at(server), server)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t, 1, 0)
		testHanging(t, Options{Addresses: c.Addrs(), ClientType: Cluster}, c.Nodes()...)
	})
}

func testHanging(t *testing.T, o Options, servers ...*redistest.Server) {
	s := open(t, o)
	require.NoError(t, s.Set(t.Context(), "k", record(t, "{}"), ttl))
	for _, server := range servers {
		server.Pause()
	}
	requireUnavailable(t, s)
	for _, server := range servers {
		server.Continue()
	}
	requireRecovers(t, s)
}

// requireRecovers waits until the store serves again.
func requireRecovers(t *testing.T, s *Store) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*deadline)
		defer cancel()
		if err = s.Set(ctx, "recovered", cache.AbsentRecord(), ttl); err == nil {
			_, err = s.Get(ctx, "recovered")
		}
		return err == nil
	}, patience, 10*time.Millisecond, "%v", err)
}

func TestAStoreMadeBeforeItsServerFindsIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	logs := new(logMemo)
	o := at(server)
	o.HealthCheckInterval = time.Second // the longest that a ping may take, too
	o.BreakerOff = true                 // it logs on its own
	s, err := New(o, cache.NewStats(), slog.New(logs))
	require.NoError(t, err)
	defer s.Close()

	requireUnavailable(t, s)
	require.Eventually(t, func() bool { return len(logs.all()) > 0 }, patience, time.Millisecond)
	server.Restart()
	requireRecovers(t, s)
	require.Eventually(t, s.Up, patience, time.Millisecond)
	server.Kill()
	require.Eventually(t, func() bool { return !s.Up() }, patience, time.Millisecond)
	server.Restart()
	require.Eventually(t, s.Up, patience, time.Millisecond)

	down, up := "error "+logDown, "info "+logUp
	require.Equal(t, []string{down, up, down, up}, logs.all(), "each change is logged once")
}

// On a node without requests, others ask whether the server answers: health does.
func TestAnOutageThatAPingFindsIsLoggedBeforeTheInterval(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	logs := new(logMemo)
	o := at(server)
	o.HealthCheckInterval = time.Hour
	o.BreakerOff = true // it logs on its own
	s, err := New(o, cache.NewStats(), slog.New(logs))
	require.NoError(t, err)
	defer s.Close()
	require.Eventually(t, s.Up, patience, time.Millisecond)
	server.Kill()
	require.Error(t, s.Ping(t.Context()))
	require.Eventually(t, func() bool { return !s.Up() }, patience, time.Millisecond)
	server.Restart()
	require.Eventually(t, func() bool { return s.Ping(t.Context()) == nil }, patience, time.Millisecond)
	require.Eventually(t, s.Up, patience, time.Millisecond)
	down, up := "error "+logDown, "info "+logUp
	require.Equal(t, []string{up, down, up}, logs.all(), "each change is logged once")
}

func TestAWrongPasswordIsUnavailableAndNotRepeated(t *testing.T) {
	t.Parallel()
	o := at(redistest.StartWith(t, redistest.Options{Password: "secret"}))
	o.Password = "hunter2"
	s := open(t, o)
	requireUnavailable(t, s)
	_, err := s.Get(t.Context(), "k")
	require.ErrorContains(t, err, "WRONGPASS")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestTLSTrustsOnlyTheConfiguredAuthorities(t *testing.T) {
	t.Parallel()
	server := redistest.StartWith(t, redistest.Options{TLS: true})
	for name, test := range map[string]struct {
		change func(*TLS)
		ok     bool
	}{
		"authority and certificate": {func(*TLS) {}, true},
		"name in the certificate":   {func(c *TLS) { c.ServerName = redistest.ServerName }, true},
		"unchecked":                 {func(c *TLS) { c.CA, c.InsecureSkipVerify = nil, true }, true},
		"another name":              {func(c *TLS) { c.ServerName = "other.test" }, false},
		"the system's authorities":  {func(c *TLS) { c.CA = nil }, false},
		"no certificate":            {func(c *TLS) { c.Cert, c.Key = "", "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := tlsOptions(server)
			test.change(o.TLS)
			s := open(t, o)
			if test.ok {
				require.NoError(t, s.Ping(t.Context()))
			} else {
				requireUnavailable(t, s)
			}
		})
	}
	for name, c := range map[string]*TLS{
		"reading tls ca":            {CA: []string{"missing.pem"}},
		"has no certificate":        {CA: []string{server.Files().ServerKey}},
		"reading tls cert and key:": {Cert: server.Files().ServerCert, Key: server.Files().ClientKey},
	} {
		_, err := New(Options{TLS: c}, cache.NewStats(), slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, name)
	}
}

// A full handshake costs a server half as much again.
func TestTLSSessionsAreResumed(t *testing.T) {
	t.Parallel()
	server := redistest.StartWith(t, redistest.Options{TLS: true})
	s := open(t, tlsOptions(server))
	require.Eventually(t, func() bool {
		cn, _, err := s.connector.connect(t.Context(), server.Addr(), false)
		require.NoError(t, err)
		defer cn.Close()
		return cn.Conn.(*tls.Conn).ConnectionState().DidResume
	}, 10*time.Second, time.Millisecond)
}

func TestSentinelsLeadToTheNewMaster(t *testing.T) {
	t.Parallel()
	for _, from := range []string{Primary, Replicas} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			sentinel := redistest.StartSentinel(t)
			o := sentinelOptions(sentinel)
			o.ReadFrom = from
			s := open(t, o)
			require.NoError(t, s.Set(t.Context(), "k", record(t, `{"n": 1}`), ttl))
			requireReads(t, s, "k", `{"n": 1}`)
			sentinel.Master().Kill()
			requireRecovers(t, s)
			requireReads(t, s, "k", `{"n": 1}`)
			require.Eventually(t, func() bool { return sentinel.Master() == sentinel.Servers[1] }, patience, 10*time.Millisecond)
		})
	}
}

// What was there before a failover by an administrator is there all the
// while: an answer may fail, but it never says that there is nothing.
func TestGracefulFailoverReportsNoAbsence(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	s := open(t, sentinelOptions(sentinel))
	require.NoError(t, s.Set(t.Context(), "k", record(t, `{}`), ttl))
	master := sentinel.Master()
	requireReplicated(t, sentinel.Servers[1], "k")
	client := goredis.NewSentinelClient(&goredis.Options{Addr: sentinel.Addrs()[0]})
	defer client.Close()
	require.NoError(t, client.Failover(t.Context(), sentinel.MasterName).Err())
	read := func() {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		if entry, err := s.Get(ctx, "k"); err == nil {
			require.NotNil(t, entry.Record, "a record that exists is reported absent")
		}
	}
	require.Eventually(t, func() bool { read(); return s.sentinels.switched.Load() > 0 }, patience, time.Millisecond)
	require.NotEqual(t, master.Addr(), s.sentinels.current())
	_, err := s.Get(t.Context(), "missing")
	if since := clock.Now() - time.Duration(s.sentinels.switched.Load()); since < switchDoubt {
		require.ErrorIs(t, err, cache.ErrUnavailable, "it may not have all writes yet")
	}
	requireRecovers(t, s)
	read()
	require.Eventually(t, func() bool { _, err := s.Get(t.Context(), "missing"); return err == nil }, patience, time.Millisecond)
}

func requireReplicated(t *testing.T, replica *redistest.Server, key string) {
	t.Helper()
	require.Eventually(t, func() bool { return replica.Client().Exists(t.Context(), key).Val() == 1 }, patience, time.Millisecond)
}

// requireReads waits until the record is seen, for replicas lag behind.
func requireReads(t *testing.T, s *Store, key, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*deadline)
		defer cancel()
		entry, err := s.Get(ctx, key)
		return err == nil && entry.Record != nil && entry.Record.Text() == text
	}, patience, 10*time.Millisecond)
}

func TestAClusterOutlivesTheLossOfAMaster(t *testing.T) {
	t.Parallel()
	for _, from := range []string{Primary, Replicas, Nearest} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			c := redistest.StartCluster(t, 3, 1)
			s := open(t, Options{Addresses: c.Addrs(), ReadFrom: from})
			keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
			for _, key := range keys {
				require.NoError(t, s.Set(t.Context(), key, record(t, `{}`), ttl))
			}
			c.Masters[0].Kill()
			for _, key := range keys {
				require.Eventually(t, func() bool {
					ctx, cancel := context.WithTimeout(t.Context(), 2*deadline)
					defer cancel()
					return s.Set(ctx, key, record(t, `{"n": 2}`), ttl) == nil
				}, patience, 10*time.Millisecond)
				requireReads(t, s, key, `{"n": 2}`)
			}
			require.Eventually(t, func() bool { return s.Ping(t.Context()) == nil }, patience, 10*time.Millisecond)
		})
	}
}

func TestClosingDoesNotWaitForCalls(t *testing.T) {
	t.Parallel()
	for kind, options := range map[string]Options{
		"simple":                {},
		"tls":                   {TLS: &TLS{}},
		"failover":              {MasterName: "m"},
		"failover and replicas": {MasterName: "m", ReadFrom: Replicas},
		"cluster":               {ClientType: Cluster},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			options.Addresses = []string{l.Addr().String()}
			options.DialTimeout, options.ReadTimeout = time.Minute, time.Minute
			s := open(t, options)
			asked := make(chan error)
			go func() {
				_, err := s.Get(t.Context(), "k")
				asked <- err
			}()
			conn, err := l.Accept() // so it is being asked, and never answers
			require.NoError(t, err)
			defer conn.Close()
			started := time.Now()
			require.NoError(t, s.Close())
			require.Less(t, time.Since(started), slack)
			require.ErrorIs(t, <-asked, cache.ErrClosed)
		})
	}
}
