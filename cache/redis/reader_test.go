package redis

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// calls is how often a server was asked for a command.
func calls(t *testing.T, server *redistest.Server, command string) string {
	t.Helper()
	text, err := server.Client().Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	return parseInfo(text)["cmdstat_"+command]
}

func TestReplicasAreReadAndNeverWritten(t *testing.T) {
	t.Parallel()
	zero := 0
	for name, start := range map[string]func(*testing.T) (o Options, master, replica *redistest.Server){
		"failover": func(t *testing.T) (Options, *redistest.Server, *redistest.Server) {
			s := redistest.StartSentinel(t)
			o := sentinelOptions(s)
			o.DB = &zero
			return o, s.Servers[0], s.Servers[1]
		},
		"failover to another database": func(t *testing.T) (Options, *redistest.Server, *redistest.Server) {
			s := redistest.StartSentinel(t)
			o := sentinelOptions(s)
			o.DB = new(int)
			*o.DB = 5
			return o, s.Servers[0], s.Servers[1]
		},
		"cluster": func(t *testing.T) (Options, *redistest.Server, *redistest.Server) {
			c := redistest.StartCluster(t, 1, 1)
			return Options{Addresses: c.Addrs()}, c.Masters[0], c.Replicas[0]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, master, replica := start(t)
			o.ReadFrom = Replicas
			s := open(t, o)
			ctx := t.Context()
			require.NoError(t, s.Set(ctx, "k", record(t, `{"n": 1}`), ttl))
			requireReads(t, s, "k", `{"n": 1}`)
			// the replicas may have been found only now
			require.Eventually(t, func() bool {
				before := calls(t, replica, "getrange")
				requireReads(t, s, "k", `{"n": 1}`)
				return calls(t, replica, "getrange") != before
			}, patience, 20*time.Millisecond)

			before := calls(t, master, "getrange")
			got, err := s.GetMany(ctx, []string{"k", "nothing", "k"})
			require.NoError(t, err)
			require.Equal(t, `{"n": 1}`, got[0].Record.Text())
			require.Nil(t, got[1].Record)
			require.Equal(t, `{"n": 1}`, got[2].Record.Text())
			require.Equal(t, before, calls(t, master, "getrange"), "the primary is left alone")

			token, now, err := s.Acquire(ctx, "l", nil, ttl, false)
			require.NoError(t, err)
			require.Nil(t, now.Record)
			filled, err := s.Fill(ctx, "l", token, nil, record(t, `{}`), nil, ttl)
			require.NoError(t, err)
			require.True(t, filled)
			touched, err := s.Touch(ctx, "l", nil, ttl)
			require.NoError(t, err)
			require.True(t, touched)
			n, err := s.Delete(ctx, "l")
			require.NoError(t, err)
			require.Equal(t, 1, n)

			replica.Pause()
			defer replica.Continue()
			for range 5 {
				ctx, cancel := context.WithTimeout(ctx, 2*deadline)
				entry, err := s.Get(ctx, "k")
				cancel()
				require.NoError(t, err, "the primary answers for a replica that hangs")
				require.Equal(t, `{"n": 1}`, entry.Record.Text())
			}
			require.NotZero(t, s.Pool().Total)
		})
	}
}
