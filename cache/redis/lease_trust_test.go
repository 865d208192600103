package redis

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// What is promised of near copies in every case: none is served that was
// revoked more than a second ago.

const user = "session:user:1"

// warm looks a key up until it is served from a near copy.
func (in *instance) warm(t testing.TB, key string) {
	t.Helper()
	require.Eventually(t, func() bool { r := in.look(key); return r.From == "near" && r.OK() }, patience, time.Millisecond)
}

// requireRevoked looks the key up until it is not let in any more, and checks
// that this was in time.
func (in *instance) requireRevoked(t testing.TB, key string, revoked time.Time, n *noise) {
	t.Helper()
	var last time.Time
	for until := revoked.Add(3 * time.Second); time.Now().Before(until); {
		began := time.Now()
		if r := in.look(key); r.OK() {
			last = began
		}
		time.Sleep(time.Millisecond) // leave something to the others
	}
	n.stop()
	age := max(0, last.Sub(revoked))
	t.Logf("let in until %s after it was revoked; noise: %s", age, quantiles(n.late))
	require.LessOrEqual(t, age, staleBound+n.quantile(1))
}

func TestLinkThatLagsDoesNotProlongTrust(t *testing.T) {
	server := redistest.Start(t)
	p := newProxy(t, server.Addr())
	in := newFleet(t, 1, Options{Addresses: []string{p.addr()}}, cache.LookupOptions{Strict: true})[0]
	client := server.Client()
	require.NoError(t, client.Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
	in.warm(t, user)
	n := startNoise(t)
	p.rate.Store(10 << 10)
	stop := make(chan struct{})
	done := make(chan struct{})
	var written atomic.Int64
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			written.Add(10)
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			pipe := client.Pipeline()
			for j := range 10 {
				pipe.Set(context.Background(), fmt.Sprintf("session:user:%064d", 100*i+j), "{}", time.Minute)
			}
			_, _ = pipe.Exec(context.Background())
		}
	}()
	// 80 bytes each: the reports of these take the link more than two seconds
	require.Eventually(t, func() bool { return written.Load() > 500 }, patience, time.Millisecond)
	revoked := time.Now()
	require.NoError(t, client.Del(t.Context(), user).Err())
	in.requireRevoked(t, user, revoked, n)
	close(stop)
	<-done
}

func TestSilentConnectionsDoNotProlongTrust(t *testing.T) {
	server := redistest.Start(t)
	p := newProxy(t, server.Addr())
	in := newFleet(t, 1, Options{Addresses: []string{p.addr()}}, cache.LookupOptions{Strict: true})[0]
	require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
	in.warm(t, user)
	n := startNoise(t)
	p.freeze()
	revoked := time.Now()
	require.NoError(t, server.Client().Del(t.Context(), user).Err())
	in.requireRevoked(t, user, revoked, n)
}

// The connections there are stay with the old server, which answers as ever.
func TestAddressThatLeadsToAnotherServerIsNoticed(t *testing.T) {
	for name, cut := range map[string]bool{"connections stay": false, "connections are cut": true} {
		t.Run(name, func(t *testing.T) {
			old, other := redistest.Start(t), redistest.Start(t)
			p := newProxy(t, old.Addr())
			in := newFleet(t, 1, Options{Addresses: []string{p.addr()}}, cache.LookupOptions{Strict: true})[0]
			for _, server := range []*redistest.Server{old, other} {
				require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
			}
			in.warm(t, user)
			n := startNoise(t)
			require.NoError(t, other.Client().Del(t.Context(), user).Err())
			revoked := time.Now()
			p.leadTo(other.Addr())
			if cut {
				p.cut()
			}
			in.requireRevoked(t, user, revoked, n)
			require.NoError(t, other.Client().Set(t.Context(), user, `{"v":2}`, time.Hour).Err())
			in.warm(t, user)
			require.NoError(t, other.Client().Del(t.Context(), user).Err())
			require.Eventually(t, func() bool { r := in.look(user); return !r.OK() }, staleBound, time.Millisecond)
		})
	}
}

func TestSwappedDatabaseIsNoticed(t *testing.T) {
	server := redistest.Start(t)
	in := newFleet(t, 1, at(server), cache.LookupOptions{Strict: true})[0]
	require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
	in.warm(t, user)
	n := startNoise(t)
	for range 2 { // and back
		require.NoError(t, server.Client().Do(t.Context(), "SWAPDB", 0, 1).Err())
		swapped := time.Now()
		want, err := server.Client().Exists(t.Context(), user).Result()
		require.NoError(t, err)
		if want == 0 {
			in.requireRevoked(t, user, swapped, n)
		} else {
			in.warm(t, user)
		}
	}
}

// Two exchanges at once bring the same data back, but not to a record that was
// read in between.
func TestDatabaseThatIsSwappedTwiceAtOnceIsNoticed(t *testing.T) {
	server := redistest.Start(t)
	in := newFleet(t, 1, at(server), cache.LookupOptions{Strict: true})[0]
	require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
	in.warm(t, user)
	n := startNoise(t)
	for i := range 3 {
		key := fmt.Sprint("session:user:other", i)
		other := server.Client().Conn()
		require.NoError(t, other.Select(t.Context(), 1).Err())
		require.NoError(t, other.Set(t.Context(), key, `{"v":2}`, time.Hour).Err())
		require.NoError(t, other.Close())
		require.NoError(t, server.Client().Do(t.Context(), "SWAPDB", 0, 1).Err())
		found := in.look(key)
		require.NoError(t, server.Client().Do(t.Context(), "SWAPDB", 0, 1).Err())
		swapped := time.Now()
		require.True(t, found.OK(), "it is there between the two")
		in.requireRevoked(t, key, swapped, n)
		in.warm(t, user)
	}
}

// What replaces the data as a whole, without a write to any key.
func TestReplacedDataAreNoticed(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, client *goredis.Client){
		"FLUSHDB ASYNC": func(t *testing.T, client *goredis.Client) {
			require.NoError(t, client.FlushDBAsync(t.Context()).Err())
		},
		"FLUSHALL ASYNC": func(t *testing.T, client *goredis.Client) {
			require.NoError(t, client.FlushAllAsync(t.Context()).Err())
		},
		"REPLICAOF": func(t *testing.T, client *goredis.Client) {
			host, port, err := net.SplitHostPort(redistest.Start(t, "--repl-diskless-sync-delay", "0").Addr())
			require.NoError(t, err)
			require.NoError(t, client.ReplicaOf(t.Context(), host, port).Err())
		},
		"DEBUG SLEEP before a FLUSHALL": func(t *testing.T, client *goredis.Client) {
			pipe := client.Pipeline()
			pipe.Do(t.Context(), "DEBUG", "SLEEP", "0.7")
			pipe.FlushAll(t.Context())
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--enable-debug-command", "yes")
			in := newFleet(t, 1, at(server), cache.LookupOptions{Strict: true})[0]
			require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
			in.warm(t, user)
			n := startNoise(t)
			replace(t, server.Client())
			require.Eventually(t, func() bool {
				there, err := server.Client().Exists(t.Context(), user).Result()
				return err == nil && there == 0
			}, patience, time.Millisecond)
			in.requireRevoked(t, user, time.Now(), n)
		})
	}
}

// A server that refuses writes but answers has nothing to report, and says that
// it will.
func TestNearCopiesComeBackWhereWritesAreRefused(t *testing.T) {
	for name, refuse := range map[string]func(t *testing.T, client *goredis.Client){
		"OOM": func(t *testing.T, client *goredis.Client) {
			require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
		},
		"NOREPLICAS": func(t *testing.T, client *goredis.Client) {
			require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
		},
		"READONLY": func(t *testing.T, client *goredis.Client) {
			require.NoError(t, client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
		},
		"MISCONF": func(t *testing.T, client *goredis.Client) {
			dir, err := client.ConfigGet(t.Context(), "dir").Result()
			require.NoError(t, err)
			require.NoError(t, client.ConfigSet(t.Context(), "save", "3600 1").Err())
			require.NoError(t, os.RemoveAll(dir["dir"]))
			require.NoError(t, client.BgSave(t.Context()).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := server.Client()
			in := newFleet(t, 1, at(server), cache.LookupOptions{Strict: true})[0]
			require.NoError(t, client.Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
			in.warm(t, user)
			refuse(t, client)
			require.Eventually(t, func() bool {
				err := client.Set(t.Context(), "x", "y", 0).Err()
				return err != nil && strings.HasPrefix(err.Error(), name)
			}, patience, time.Millisecond)
			n := startNoise(t)
			for range 2 { // a connection of the time before, and one from now
				require.NoError(t, killTrackers(t.Context(), client))
				began := time.Now()
				in.becomesCoherent(t)
				in.warm(t, user)
				require.LessOrEqual(t, time.Since(began), 2*time.Second+n.quantile(1))
			}
			fresh := newInstance(t, at(server), cache.LookupOptions{Strict: true})
			began := time.Now()
			fresh.warm(t, user)
			require.LessOrEqual(t, time.Since(began), 2*time.Second+n.quantile(1), "a process that starts now")
		})
	}
}

// While a script runs too long, Redis refuses everything, but it answers.
func TestNearCopiesOutliveABusyServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--lua-time-limit", "10")
	in := newFleet(t, 1, at(server), cache.LookupOptions{Strict: true})[0]
	require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
	in.warm(t, user)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Client().Eval(context.Background(), "while true do end", nil)
	}()
	busy := func() bool {
		err := server.Client().Get(t.Context(), "x").Err()
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	}
	require.Eventually(t, busy, patience, time.Millisecond)
	time.Sleep(2 * time.Second) // longer than trust lasts without an answer
	require.True(t, in.Near().Coherent)
	require.NoError(t, server.Client().ScriptKill(t.Context()).Err())
	<-done
	began := time.Now()
	in.warm(t, user)
	require.Less(t, time.Since(began), 2*time.Second)
}
