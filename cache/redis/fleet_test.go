package redis

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// instance is what one Caddy has: a cache with near copies over the shared store.
type instance struct {
	*cache.Cache
	store  *Store
	lookup *cache.Lookup
}

// newInstance opens a cache as the plugin does.
func newInstance(t testing.TB, o Options, ro cache.LookupOptions) *instance {
	t.Helper()
	stats := cache.NewStats()
	store, err := New(o, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	c := cache.New(store, stats)
	c.EnableNear(near.Options{})
	ro.Name, ro.Family, ro.KeyPrefix = "test", cache.Session, "session:user:"
	if ro.TTL == 0 {
		ro.TTL = time.Hour
	}
	lookup, err := c.NewLookup(ro)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return &instance{Cache: c, store: store, lookup: lookup}
}

func newFleet(t testing.TB, n int, o Options, ro cache.LookupOptions) []*instance {
	t.Helper()
	fleet := make([]*instance, n)
	for i := range fleet {
		fleet[i] = newInstance(t, o, ro)
	}
	for _, in := range fleet {
		in.becomesCoherent(t)
	}
	return fleet
}

func (in *instance) becomesCoherent(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return in.Near().Coherent }, 20*time.Second, time.Millisecond)
}

func (in *instance) look(key string) cache.Result {
	return in.lookup.Find(context.Background(), cache.Request{Key: key, ID: key})
}

// version is the number in a record; absence is told apart.
func version(r *cache.Result) (n int64, found bool) {
	if !r.OK() {
		return 0, false
	}
	v, _ := r.Record.Field("v")
	n, _ = v.Int()
	return n, true
}

func versioned(n int64) *cache.Record {
	r, err := cache.Decode(`{"v":`+strconv.FormatInt(n, 10)+`}`, 1<<10)
	if err != nil {
		panic(err)
	}
	return r
}

// source is an application that counts how often it is asked.
type source struct {
	asked  atomic.Int64
	answer func(ctx context.Context, req cache.Request) (cache.Loaded, error)
}

func (*source) Name() string { return "test" }

func (s *source) Load(ctx context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
	s.asked.Add(1)
	return s.answer(ctx, req)
}

// quantiles of durations, for the log.
func quantiles(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[int(q*float64(len(d)-1))].Round(time.Microsecond) }
	return fmt.Sprintf("p50 %s, p99 %s, max %s of %d", at(.5), at(.99), at(1), len(d))
}
