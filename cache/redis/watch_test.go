package redis

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// memo is a sink that remembers what it was told.
type memo struct {
	trust   atomic.Int32
	until   atomic.Int64 // when the trust ends
	changes atomic.Int32
	flushes atomic.Int32
	keys    chan string
}

func newMemo() *memo { return &memo{keys: make(chan string, 10_000)} }

func (m *memo) Invalidate(keys ...string) {
	for _, key := range keys {
		m.keys <- key
	}
}
func (m *memo) Flush() { m.flushes.Add(1) }
func (m *memo) SetTrust(t near.Trust) {
	m.trust.Store(int32(t))
	m.changes.Add(1)
}
func (m *memo) Version(string, time.Time) (*near.Version, bool) { return nil, false }
func (m *memo) BeginVersion(string) near.VersionTicket          { return near.VersionTicket{} }
func (m *memo) TrustUntil(until time.Time) {
	m.until.Store(until.UnixNano())
	if near.Trust(m.trust.Swap(int32(near.Coherent))) != near.Coherent {
		m.changes.Add(1)
	}
}
func (m *memo) is(t near.Trust) bool { return near.Trust(m.trust.Load()) == t }

// vouches reports whether copies are served now.
func (m *memo) vouches() bool {
	return m.is(near.Coherent) && time.Now().UnixNano() < m.until.Load()
}

func (m *memo) becomes(t *testing.T, trust near.Trust) {
	t.Helper()
	require.Eventually(t, func() bool { return m.is(trust) }, 20*time.Second, time.Millisecond)
}

// hears waits until a key is told of.
func (m *memo) hears(t *testing.T, key string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case told := <-m.keys:
			if told == key {
				return
			}
		case <-deadline:
			require.Fail(t, "was not told of a write", key)
		}
	}
}

// killTrackers ends the connections on which a server reports writes.
func killTrackers(ctx context.Context, client *goredis.Client) error {
	list, err := client.ClientList(ctx).Result()
	if err != nil {
		return err
	}
	for line := range strings.Lines(list) {
		id, flags := "", ""
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			switch name {
			case "id":
				id = value
			case "flags":
				flags = value
			}
		}
		if strings.Contains(flags, "B") { // tracking in BCAST mode
			if err := client.ClientKillByFilter(ctx, "ID", id).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

func watched(t *testing.T, options Options, prefixes ...string) (*Store, *memo) {
	t.Helper()
	store, err := New(options, cache.NewStats(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	m := newMemo()
	for _, prefix := range prefixes {
		store.Watch(prefix, m)
	}
	return store, m
}

func TestEveryKindOfWriteIsReported(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, m := watched(t, Options{Addresses: []string{server.Addr()}}, "file:meta:", "session:user:")
	m.becomes(t, near.Coherent)
	client, ctx := server.Client(), t.Context()
	for _, write := range []struct {
		told string
		do   func(key string) error
	}{
		{"session:user:a", func(key string) error { return client.Set(ctx, key, "{}", time.Hour).Err() }},
		{"session:user:a", func(key string) error { return client.Del(ctx, key).Err() }},
		{"session:user:b", func(key string) error { return client.MSet(ctx, key, "{}", "other", "{}").Err() }},
		{"session:user:b", func(key string) error { return client.Expire(ctx, key, time.Hour).Err() }},
		{"session:user:b", func(key string) error { return client.Append(ctx, key, " ").Err() }},
		{"session:user:b", func(key string) error { return client.Rename(ctx, key, "session:user:c").Err() }},
		{"file:meta:d", func(key string) error {
			return client.Eval(ctx, "redis.call('SET', KEYS[1], '{}')", []string{key}).Err()
		}},
		{"file:meta:e", func(key string) error { return client.Set(ctx, key, "{}", 50*time.Millisecond).Err() }},
	} {
		if err := write.do(write.told); err != nil {
			require.ErrorIs(t, err, goredis.Nil)
		}
		m.hears(t, write.told)
	}
	m.hears(t, "file:meta:e") // its end is a write too
	require.NoError(t, client.FlushAll(ctx).Err())
	require.Eventually(t, func() bool { return m.flushes.Load() > 0 }, 10*time.Second, time.Millisecond)
}

func TestTrustEndsWithTheConnectionAndReturns(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, m := watched(t, Options{Addresses: []string{server.Addr()}}, "session:user:")
	m.becomes(t, near.Coherent)

	before := m.changes.Load()
	require.NoError(t, killTrackers(t.Context(), server.Client()))
	require.Eventually(t, func() bool { return m.changes.Load() >= before+2 }, 10*time.Second, time.Millisecond)
	m.becomes(t, near.Coherent)

	server.Pause()
	stopped := time.Now()
	m.becomes(t, near.None)
	t.Logf("a server that hangs was distrusted after %s", time.Since(stopped))
	server.Continue()
	m.becomes(t, near.Coherent)

	server.Kill()
	m.becomes(t, near.None)
	server.Restart()
	m.becomes(t, near.Coherent)
	require.NoError(t, server.Client().Set(t.Context(), "session:user:x", "{}", time.Hour).Err())
	m.hears(t, "session:user:x")
}

func TestServerThatReportsNoWritesIsDetected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args  []string
		rules []any
	}{
		"old server":  {args: []string{"--rename-command", "HELLO", ""}},
		"no tracking": {rules: []any{"allkeys", "-client|tracking"}},
		"no INFO":     {rules: []any{"allkeys", "-info"}},
		"no canary":   {rules: []any{"~session:*"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, c.args...)
			args := []any{"ACL", "SETUSER", "app", "on", ">secret", "allchannels", "+@all"}
			require.NoError(t, server.Client().Do(t.Context(), append(args, c.rules...)...).Err())
			options := Options{Addresses: []string{server.Addr()}}
			if c.rules != nil {
				options.Username, options.Password = "app", "secret"
			}
			_, m := watched(t, options, "session:user:")
			m.becomes(t, near.Brief)
		})
	}
}

func TestPrefixesAreAddedWhileWatching(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store, m := watched(t, Options{Addresses: []string{server.Addr()}}, "session:user:")
	m.becomes(t, near.Coherent)
	store.Watch("session:user:more:", m)
	require.True(t, m.is(near.Coherent), "what is covered already needs no new tracker")
	store.Watch("file:meta:", m)
	m.becomes(t, near.Coherent)
	require.NoError(t, server.Client().Set(t.Context(), "file:meta:x", "{}", time.Hour).Err())
	m.hears(t, "file:meta:x")
}

func TestPrefixesNeverOverlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ all, minimal []string }{
		{[]string{"b:", "a:"}, []string{"a:", "b:"}},
		{[]string{"a:b:", "a:", "a:c"}, []string{"a:"}},
		{[]string{"a:", "", "b:"}, []string{""}},
		{[]string{"a", "a"}, []string{"a"}},
	} {
		require.Equal(t, c.minimal, minimalPrefixes(c.all))
	}
}

func TestEveryNodeOfAClusterIsWatched(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 1)
	store, m := watched(t, Options{Addresses: cluster.Addrs(), ClientType: Cluster}, "session:user:")
	m.becomes(t, near.Coherent)
	for i := range 30 {
		key := fmt.Sprint("session:user:", i)
		require.NoError(t, store.primary.Set(t.Context(), key, "{}", time.Hour).Err())
		m.hears(t, key)
	}
	require.NoError(t, store.primary.(*goredis.ClusterClient).ForEachMaster(t.Context(), func(ctx context.Context, node *goredis.Client) error {
		return killTrackers(ctx, node)
	}))
	m.becomes(t, near.Coherent)
}

func TestTrustFollowsAFailover(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	store, m := watched(t, Options{Addresses: sentinel.Addrs(), MasterName: sentinel.MasterName}, "session:user:")
	m.becomes(t, near.Coherent)
	sentinel.Master().Kill()
	m.becomes(t, near.None)
	m.becomes(t, near.Coherent)
	require.Eventually(t, func() bool {
		return store.primary.Set(t.Context(), "session:user:x", "{}", time.Hour).Err() == nil
	}, 20*time.Second, 10*time.Millisecond)
	m.hears(t, "session:user:x")
}

// A failover by an administrator suspends the trust for a moment: the
// canary may still go to the old master while the new one is promoted already,
// which says nothing about what the new one reports.
func TestTrustIsBackSoonAfterAGracefulFailover(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	store, m := watched(t, sentinelOptions(sentinel), "session:user:")
	m.becomes(t, near.Coherent)
	client := goredis.NewSentinelClient(&goredis.Options{Addr: sentinel.Addrs()[0]})
	defer client.Close()
	for range 2 {
		before := store.sentinels.current()
		require.Eventually(t, func() bool {
			return client.Failover(t.Context(), sentinel.MasterName).Err() == nil
		}, patience, 10*time.Millisecond, "the failover before this one is not over")
		require.Eventually(t, func() bool { return store.sentinels.current() != before }, patience, time.Millisecond)
		switched := time.Now()
		trusted, longest := switched, time.Duration(0)
		require.Eventually(t, func() bool {
			require.False(t, m.is(near.Brief), "the server is taken for one that never reports writes")
			if m.vouches() {
				trusted = time.Now()
			}
			longest = max(longest, time.Since(trusted))
			return time.Since(switched) > 6*time.Second && trusted.After(switched.Add(5*time.Second))
		}, patience, time.Millisecond)
		require.Less(t, longest, 5*time.Second)
		require.NoError(t, store.primary.Set(t.Context(), "session:user:x", "{}", time.Hour).Err())
		m.hears(t, "session:user:x")
	}
}
