package redis

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// quiet drops what go-redis logs about the servers that these tests break.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	if addr := os.Getenv(pausedNode); addr != "" {
		runPausedNode(addr)
		return
	}
	goredis.SetLogger(quiet{})
	goleak.VerifyTestMain(m, redistest.IgnoreLateDials())
}

const (
	// ttl is one that no test outlives.
	ttl = time.Hour
	// patience is how long a condition may take to come true.
	patience = 30 * time.Second
)

// open opens a store that is closed with the test.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := New(o, cache.NewStats(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func at(server *redistest.Server) Options { return Options{Addresses: []string{server.Addr()}} }

func record(t testing.TB, text string) *cache.Record {
	t.Helper()
	r, err := cache.Decode(text, 2*cache.DefaultMaxValueSize)
	require.NoError(t, err)
	return r
}
