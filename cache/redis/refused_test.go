package redis

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestWhatTheServerRefusesIsCounted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refuse        func(t *testing.T, client *goredis.Client)
		said          string
		reads, writes bool
	}{
		"full": {
			refuse: func(t *testing.T, client *goredis.Client) {
				require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
			},
			said: "OOM ", writes: true,
		},
		"no right to read": {
			refuse: func(t *testing.T, client *goredis.Client) {
				require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "web", "-getrange").Err())
			},
			said: "NOPERM ", reads: true,
		},
		"no rights": {
			refuse: func(t *testing.T, client *goredis.Client) {
				require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "web", "-@all", "+info", "+hello").Err())
			},
			said: "NOPERM ", reads: true, writes: true,
		},
		"another password": {
			refuse: func(t *testing.T, client *goredis.Client) {
				require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "web", "resetpass", ">other").Err())
				require.NoError(t, client.Do(t.Context(), "CLIENT", "KILL", "USER", "web").Err())
			},
			said: "WRONGPASS ", reads: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartWith(t, redistest.Options{Users: []string{"web on >secret ~* &* +@all"}})
			stats := cache.NewStats()
			o := at(server)
			o.Username, o.Password = "web", "secret"
			s, err := New(o, stats, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			defer s.Close()
			m := newMemo()
			s.Watch("session:user:", m)
			require.NoError(t, s.Set(t.Context(), "k", record(t, "{}"), ttl))
			require.NoError(t, get(s, "k"))
			require.NoError(t, get(s, "missing"))
			require.Zero(t, stats.StoreErrors.Counts())

			c.refuse(t, server.Client())
			before := time.Now()
			readErr, writeErr := get(s, "k"), s.Set(t.Context(), "k", record(t, "{}"), ttl)
			counts := stats.StoreErrors.Counts()
			require.Equal(t, c.reads, counts.Reads > 0, "reads: %v", readErr)
			if name != "another password" { // then the breaker refuses the write, and the server is not asked
				require.Equal(t, c.writes, counts.Writes > 0, "writes: %v", writeErr)
			}
			require.Contains(t, counts.Last, c.said)
			require.False(t, counts.LastAt.Before(before))
		})
	}
}

func TestErrorsOfTheServerNameNoKeys(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--rename-command", "GETRANGE", "")
	s := open(t, at(server))
	err := get(s, "session:user:secret")
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.ErrorContains(t, err, "unknown command")
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, s.stats.StoreErrors.Counts().Last, "secret")
	long := serverText(replyError("ERR " + string(make([]byte, 1000))))
	require.LessOrEqual(t, len(long), maxServerText)
	require.False(t, isRefused(errors.New("no answer")))
}
