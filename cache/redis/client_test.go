package redis

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestRoundTripsAreMeasured(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"simple":  at(redistest.Start(t)),
		"cluster": {Addresses: redistest.StartCluster(t, 2, 0).Addrs()},
	} {
		stats := cache.NewStats()
		s, err := New(o, stats, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.Eventually(t, s.Up, patience, time.Millisecond)
		before := stats.StoreLatency.Count()
		for range 10 {
			_, err = s.Get(t.Context(), "k")
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, stats.StoreLatency.Count()-before, uint64(10), name)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close(), "closing twice does no harm")
	}
}

func TestRefusedConnectionsAreNoRoundTrips(t *testing.T) {
	t.Parallel()
	stats := cache.NewStats()
	s, err := New(Options{Addresses: []string{ports.Addr(t)}, MaxRetries: -1}, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Get(t.Context(), "k")
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.Zero(t, stats.StoreLatency.Count())
}

func TestConnectingIsQuietOnTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, s.Set(t.Context(), "k", record(t, "{}"), ttl))
	_, err := s.Get(t.Context(), "k")
	require.NoError(t, err)
	text, err := server.Client().Info(t.Context(), "stats").Result()
	require.NoError(t, err)
	require.Zero(t, parseInfo(text).number("total_error_replies"))
}

func TestThePoolIsAsLargeAsConfigured(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := at(server)
	o.PoolSize = 2
	s := open(t, o)
	done := make(chan error)
	for range 20 {
		go func() {
			_, err := s.Get(t.Context(), "k")
			done <- err
		}()
	}
	for range 20 {
		require.NoError(t, <-done)
	}
	p := s.Pool()
	require.Equal(t, 2, p.Size)
	require.LessOrEqual(t, p.Total, uint32(2))
	require.Equal(t, p.Total, p.Idle+p.InUse)
	require.Positive(t, p.Hits+p.Misses)
}
