package health

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/cache/redis"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.IgnoreLateDials()) }

func reportOf(checks map[string]string) wire.Health {
	r := report{wire.Health{Status: wire.HealthPass, Checks: make(map[string][]wire.HealthCheck)}}
	for name, status := range checks {
		r.add(name, wire.HealthCheck{Status: wire.HealthStatus(status), Output: "because"})
	}
	return r.Health
}

func names(events []Event) (names []string) {
	for _, e := range events {
		name := e.Name
		if check, ok := e.Data["check"]; ok {
			name += " " + check.(string)
		}
		names = append(names, name)
	}
	return names
}

func TestEachChangeIsAnEventOnce(t *testing.T) {
	t.Parallel()
	store, err := memory.New(memory.Options{})
	require.NoError(t, err)
	c := cache.New(store, cache.NewStats())
	defer c.Close()
	var a Alerts
	for i, step := range []struct {
		checks map[string]string
		want   []string
	}{
		{map[string]string{"redis:ping": "pass", "redis:refused_writes": "pass"}, nil},
		{map[string]string{"redis:ping": "pass", "redis:refused_writes": "warn", "lookups:hit_rate": "warn"}, []string{
			AlertRaised + " lookups:hit_rate", AlertRaised + " redis:refused_writes", StoreRefusesWrites,
		}},
		{map[string]string{"redis:ping": "pass", "redis:refused_writes": "warn", "lookups:hit_rate": "warn"}, nil},
		{map[string]string{"redis:ping": "fail"}, []string{StoreDown}},
		{map[string]string{"redis:ping": "fail"}, nil},
		{map[string]string{"redis:ping": "pass", "redis:refused_writes": "pass", "lookups:hit_rate": "warn"}, []string{
			StoreUp, AlertCleared + " redis:refused_writes",
		}},
		{map[string]string{"redis:ping": "pass", "memory:file": "warn"}, []string{
			AlertRaised + " memory:file", PersistFailed, AlertCleared + " lookups:hit_rate",
		}},
		{map[string]string{"memory:ping": "pass", "memory:file": "pass"}, []string{AlertCleared + " memory:file"}},
		{map[string]string{"memory:ping": "fail"}, []string{StoreDown}},
		// at the end of an outage, what it has left is no new alert
		{map[string]string{"memory:ping": "pass", "redis:refused_writes": "warn"}, []string{StoreUp}},
		{map[string]string{"memory:ping": "pass", "redis:refused_writes": "warn"}, []string{AlertRaised + " redis:refused_writes", StoreRefusesWrites}},
		{map[string]string{"memory:ping": "fail"}, []string{StoreDown}},
		{map[string]string{"memory:ping": "pass", "redis:refused_writes": "warn"}, []string{StoreUp}},
	} {
		require.Equal(t, step.want, names(a.Changes(reportOf(step.checks), c)), "step %d", i)
	}
}

func TestAReloadWithAnotherStoreEndsWhatWasRaisedForTheOldOne(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	open := func() *cache.Cache {
		stats := cache.NewStats()
		store, err := redis.New(redis.Options{Addresses: []string{server.Addr()}}, stats, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		c := cache.New(store, stats)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		return c
	}
	old, next := open(), open()
	embedded, err := memory.New(memory.Options{})
	require.NoError(t, err)
	third := cache.New(embedded, cache.NewStats())
	defer third.Close()

	var a Alerts
	a.Changes(reportOf(map[string]string{"redis:ping": "fail", "lookups:hit_rate": "warn"}), old)
	events := a.Changes(reportOf(map[string]string{"redis:ping": "fail"}), next)
	require.Equal(t, []string{AlertCleared + " lookups:hit_rate", StoreUp, StoreDown}, names(events), "the new store is down by itself")
	require.Equal(t, unused, events[0].Data["output"])
	require.Equal(t, map[string]any{"store": "redis", "output": unused}, events[1].Data)

	a.incoherent = true
	events = a.Changes(reportOf(map[string]string{"memory:ping": "pass"}), third)
	require.Equal(t, []string{StoreUp, NearCoherent}, names(events))
	for _, e := range events {
		require.Equal(t, map[string]any{"store": "redis", "output": unused}, e.Data, "the embedded store was never down")
	}
	require.Empty(t, a.Changes(reportOf(map[string]string{"memory:ping": "pass"}), third))
}

// failing is a source.
type failing struct{}

func (*failing) Name() string { return "http" }

func (*failing) Load(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) {
	return cache.Loaded{}, errors.New("status 500")
}

func TestTheClockFindsChangesWithoutHealthRequests(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	stats := cache.NewStats()
	store, err := redis.New(redis.Options{Addresses: []string{server.Addr()}, MaxRetries: -1}, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	c := cache.New(store, stats)
	defer c.Close()
	c.EnableNear(near.Options{})
	l, err := c.NewLookup(cache.LookupOptions{Name: "files", Family: cache.FileMeta, TTL: time.Hour, Source: new(failing), KeyPrefix: "k:"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return c.Near().Coherent }, 10*time.Second, time.Millisecond)

	events, ticks := make(chan Event, 100), make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	m := &Monitor{
		Cache: c, Alert: lookup.Alert{HitRateBelow: 1, LatencyAbove: time.Hour, MemoryAbove: 100, ClientsAbove: 1000},
		Alerts: new(Alerts), Logger: slog.New(slog.DiscardHandler),
		Newest: func() bool { return true }, Emit: func(e Event) { events <- e },
	}
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx, ticks) }()
	defer func() { cancel(); <-done }()
	// happens ticks until all of these were emitted
	happens := func(want ...string) {
		t.Helper()
		missing := make(map[string]bool)
		for _, name := range want {
			missing[name] = true
		}
		require.Eventually(t, func() bool {
			ticks <- time.Now()
			for {
				select {
				case e := <-events:
					require.NotContains(t, e.Data, "s3cret")
					delete(missing, names([]Event{e})[0])
				default:
					return len(missing) == 0
				}
			}
		}, 15*time.Second, 10*time.Millisecond, "missing: %v", missing)
	}
	l.Find(t.Context(), cache.Request{Key: "k:s3cret", ID: "s3cret"})
	happens(AlertRaised + " source:http")
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
	_ = c.Set(t.Context(), "k:s3cret", cache.AbsentRecord(), time.Hour)
	happens(StoreRefusesWrites, AlertRaised+" redis:refused_writes")
	server.Kill()
	happens(StoreDown, NearIncoherent)
	server.Restart()
	happens(StoreUp, NearCoherent)
}

func TestNearCopiesWithoutTrustAreAWarningAfterAWhile(t *testing.T) {
	t.Parallel()
	copies := near.Stats{MaxBytes: 1}
	check := func(copies near.Stats, doubt cache.NearDoubt, doubted bool) wire.Health {
		r := report{wire.Health{Status: wire.HealthPass, Checks: make(map[string][]wire.HealthCheck)}}
		r.checkNear(copies, doubt, doubted)
		return r.Health
	}
	long := cache.NearDoubt{Since: time.Now().Add(-time.Hour), Address: "redis:6379", Reason: "NOPERM no rights"}
	health := check(copies, long, true)
	require.Equal(t, wire.HealthWarn, health.Status)
	require.Equal(t, "near copies are not coherent since "+long.Since.UTC().Format(time.RFC3339)+
		": the server at redis:6379 does not report writes: NOPERM no rights", health.Output)
	require.Equal(t, 0, health.Checks["near:coherent"][0].Value)

	short := long
	short.Since = time.Now().Add(-time.Second)
	require.Equal(t, wire.HealthPass, check(copies, short, true).Status)
	require.Equal(t, wire.HealthPass, check(near.Stats{MaxBytes: 1, Coherent: true}, cache.NearDoubt{}, false).Status)
	require.Empty(t, check(near.Stats{}, cache.NearDoubt{}, false).Checks, "there are no near copies")
}

func TestALowHitRateNamesTheLookupsThatFailed(t *testing.T) {
	t.Parallel()
	store, err := memory.New(memory.Options{})
	require.NoError(t, err)
	c := cache.New(store, cache.NewStats())
	defer c.Close()
	l, err := c.NewLookup(cache.LookupOptions{Name: "files", Family: cache.FileMeta, TTL: time.Hour, Source: new(failing), KeyPrefix: "k:"})
	require.NoError(t, err)
	for range minLookups {
		l.Find(t.Context(), cache.Request{Key: "k:a", ID: "a"})
	}
	health := Of(t.Context(), c, lookup.Alert{HitRateBelow: 80}, nil)
	require.Equal(t, "hit rate is 0.0%, below 80%: 100 of 100 lookups failed", health.Checks["lookups:hit_rate"][0].Output)
}
