package redis

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
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
			require.NoError(t, get(s, "k"))
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

func TestCallsThatComeTooLateSayNothingAboutTheNode(t *testing.T) {
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
