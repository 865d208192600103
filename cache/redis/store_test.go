package redis

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestStoreKeepsItsPromises(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(*testing.T) Options{
		"simple": func(t *testing.T) Options { return at(redistest.Start(t)) },
		"unix":   func(t *testing.T) Options { return at(redistest.StartWith(t, redistest.Options{Unix: true})) },
		"password": func(t *testing.T) Options {
			o := at(redistest.StartWith(t, redistest.Options{Password: "secret"}))
			o.Password = "secret"
			return o
		},
		"user with what doc.go says it needs": func(t *testing.T) Options {
			o := at(redistest.StartWith(t, redistest.Options{Users: []string{
				"web on >secret ~* -@all +get +set +getrange +pttl +pexpire +exists +unlink +eval +evalsha +scan +ping +info +hello +xadd +xrange +xrevrange +select",
			}}))
			o.Username, o.Password, o.DB = "web", "secret", new(int)
			*o.DB = 3
			return o
		},
		"tls":      func(t *testing.T) Options { return tlsOptions(redistest.StartWith(t, redistest.Options{TLS: true})) },
		"failover": func(t *testing.T) Options { return sentinelOptions(redistest.StartSentinel(t)) },
		"cluster":  func(t *testing.T) Options { return Options{Addresses: redistest.StartCluster(t, 3, 0).Addrs()} },
		"key prefix with braces": func(t *testing.T) Options {
			return Options{Addresses: redistest.StartCluster(t, 2, 0).Addrs(), KeyPrefix: "{a}b{"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			cachetest.Run(t, func(t *testing.T) cache.Store {
				s, err := New(o, cache.NewStats(), slog.New(slog.DiscardHandler))
				require.NoError(t, err)
				return s
			})
		})
	}
}

func tlsOptions(server *redistest.Server) Options {
	o := at(server)
	f := server.Files()
	o.TLS = &TLS{CA: []string{f.CA}, Cert: f.ClientCert, Key: f.ClientKey}
	return o
}

func sentinelOptions(s *redistest.Sentinel) Options {
	return Options{Addresses: s.Addrs(), MasterName: s.MasterName}
}

func TestAKeyThatMayNotBeReadIsNoErrorOfOthers(t *testing.T) {
	t.Parallel()
	o := at(redistest.StartWith(t, redistest.Options{Users: []string{"web on >secret ~session:* -@all +getrange +pttl +set +unlink +ping +info +hello"}}))
	o.Username, o.Password = "web", "secret"
	s := open(t, o)
	got, err := s.GetMany(t.Context(), []string{"session:a", "file:a", "session:b"})
	require.NoError(t, err)
	require.NoError(t, got[0].Err)
	require.ErrorIs(t, got[1].Err, cache.ErrUnavailable)
	require.NoError(t, got[2].Err)
}

func TestOfTwoItemsWithOneKeyTheLastCounts(t *testing.T) {
	t.Parallel()
	s := open(t, at(redistest.Start(t)))
	var items []cache.Item
	for i := range 3 * pipelineKeys {
		items = append(items, cache.Item{Key: fmt.Sprint("key", i%(pipelineKeys/2)), Record: record(t, fmt.Sprintf(`{"n":%d}`, i)), TTL: ttl})
	}
	require.NoError(t, s.SetMany(t.Context(), items))
	for i := range pipelineKeys / 2 {
		got, err := s.Get(t.Context(), fmt.Sprint("key", i))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf(`{"n":%d}`, 3*pipelineKeys-pipelineKeys/2+i), got.Record.Text())
	}
}
