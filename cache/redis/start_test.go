package redis

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// listener is a server that accepts connections and counts them.
type listener struct {
	net.Listener
	accepted chan string // who connected
}

func listen(t *testing.T) *listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	c := &listener{l, make(chan string, 1000)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.accepted <- conn.RemoteAddr().String()
			conn.Close()
		}
	}()
	return c
}

// connections is how many connections were made to the listener, now that no
// more are made: a last one shows that all before it were accepted.
func (l *listener) connections(t *testing.T) int {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	others := 0
	for <-l.accepted != conn.LocalAddr().String() {
		others++
	}
	return others
}

type noSink struct{ near.Sink }

func TestADeferredStoreConnectsToNothing(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"simple":           {},
		"idle connections": {MinIdleConns: 2},
		"cluster":          {ClientType: Cluster, MinIdleConns: 1},
		"failover":         {ClientType: Failover, MasterName: "m", MinIdleConns: 1},
		"replicas":         {ReadFrom: Replicas, ClientType: Cluster},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := listen(t)
			o.Addresses, o.Deferred = []string{server.Addr().String()}, true
			s := open(t, o)
			s.Watch("session:", noSink{})
			require.NoError(t, s.Close()) // ends all that runs in the background
			require.Zero(t, server.connections(t))
		})
	}
}

func TestADeferredStoreConnectsOnceItIsStartedOrUsed(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*Store){
		"started": (*Store).Start,
		"used":    func(s *Store) { _, _ = s.Get(context.Background(), "session:a") },
		"pinged":  func(s *Store) { _ = s.Ping(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := listen(t)
			s := open(t, Options{Addresses: []string{server.Addr().String()}, Deferred: true})
			begin(s)
			<-server.accepted
		})
	}
}

func TestADialThatWaitsForTheStartHasItsTimeAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := newStart(make(chan struct{}))
		dialed := make(chan error, 1)
		dial := begin.patient(func(ctx context.Context, _, _ string) (net.Conn, error) {
			dialed <- ctx.Err()
			return nil, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // its time is over before the start
		go func() { _, _ = dial(ctx, "", "") }()
		synctest.Wait()
		begin.now()
		require.NoError(t, <-dialed)
	})
}

func TestAReadFromReplicasStartsADeferredStore(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addresses: []string{listen(t).Addr().String()}, ClientType: Failover, MasterName: "m", ReadFrom: Replicas, Deferred: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.reader.read(ctx, s, []string{"session:a"}, make([]cache.Got, 1))
	require.True(t, s.start.done.Load())
}

func TestADialThatWaitsForTheStartEndsWithTheStore(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	dial := newStart(ended).patient(func(context.Context, string, string) (net.Conn, error) {
		panic("dialed")
	})
	close(ended)
	conn, err := dial(t.Context(), "", "")
	require.NoError(t, err)
	_, err = conn.Read(nil)
	require.ErrorIs(t, err, errNotStarted)
}
