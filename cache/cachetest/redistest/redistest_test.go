package redistest_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestMain(m *testing.M) {
	logging.Disable()
	goleak.VerifyTestMain(m, redistest.IgnoreLateDials())
}

func TestServerAnswersUntilItIsStopped(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]redistest.Options{
		"tcp":      {},
		"unix":     {Unix: true},
		"password": {Password: "secret"},
		"tls":      {TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartWith(t, options)
			require.NoError(t, s.Client().Set(t.Context(), "k", "v", 0).Err())
			s.Restart()
			require.ErrorIs(t, s.Client().Get(t.Context(), "k").Err(), redis.Nil, "a restarted server is empty")
			s.Stop()
			require.Error(t, s.Client().Ping(t.Context()).Err())
		})
	}
}

func TestServerAcceptsOnlyItsUsers(t *testing.T) {
	t.Parallel()
	s := redistest.StartWith(t, redistest.Options{Users: []string{"web on >secret ~web:* &* +@all"}})
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "web", Password: "secret"})
	defer c.Close()
	require.NoError(t, c.Set(t.Context(), "web:1", "v", 0).Err())
	require.ErrorContains(t, c.Set(t.Context(), "other", "v", 0).Err(), "NOPERM")
}

func TestPausedServerIsSilentUntilItContinues(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	require.NoError(t, s.Client().Ping(t.Context()).Err())
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Client().Ping(ctx).Err(), context.DeadlineExceeded)
	s.Continue()
	require.NoError(t, s.Client().Ping(t.Context()).Err())
}

func TestSentinelsPromoteTheReplica(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	master := s.Master()
	require.Same(t, s.Servers[0], master)
	master.Kill()
	require.Eventually(t, func() bool { return s.Master() == s.Servers[1] }, 30*time.Second, 50*time.Millisecond)
}

func TestClusterServesAllSlots(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	defer client.Close()
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		require.NoError(t, client.Set(t.Context(), key, "v", 0).Err())
	}
}
