package health

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/cache/redis"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

func TestEveryCheckHasASectionOfTheRunbook(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	anchors := make(map[string]bool)
	for line := range strings.Lines(string(page)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' {
			anchors[strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-")] = true
		}
	}
	server := redistest.Start(t)
	require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "blind", "on", ">secret", "~*", "+@all", "-info").Err())
	checks := make(map[string]bool)
	for _, user := range []string{"", "blind", "nobody"} {
		stats := cache.NewStats()
		o := redis.Options{Addresses: []string{server.Addr()}, MaxRetries: -1}
		if user != "" {
			o.Username, o.Password = user, "secret"
		}
		store, err := redis.New(o, stats, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		c := cache.New(store, stats)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		c.EnableNear(near.Options{})
		_, err = c.NewLookup(cache.LookupOptions{Name: "files", Family: cache.FileMeta, TTL: time.Hour, Source: new(failing), KeyPrefix: "k:"})
		require.NoError(t, err)
		for name := range Of(t.Context(), c, lookup.Alert{}, nil).Checks {
			checks[name] = true
		}
	}
	embedded, err := memory.New(memory.Options{File: filepath.Join(t.TempDir(), "f")})
	require.NoError(t, err)
	c := cache.New(embedded, cache.NewStats())
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	for name := range Of(t.Context(), c, lookup.Alert{}, nil).Checks {
		checks[name] = true
	}
	checks["root:/srv/files"] = true
	require.Contains(t, checks, "redis:info")
	require.Contains(t, checks, "memory:file")
	for name := range checks {
		_, anchor, ok := strings.Cut(Runbook(name), "/docs/operations.md#")
		require.True(t, ok, "%s has no section", name)
		require.True(t, anchors[anchor], "%s: there is no section #%s", name, anchor)
	}
	require.Empty(t, Runbook("javascript:alert(1)"))

	down := reportOf(map[string]string{"redis:ping": "fail", "lookups:hit_rate": "pass"})
	require.Equal(t, map[string]string{"runbook": Runbook("redis:ping")}, down.Checks["redis:ping"][0].Links)
	require.Empty(t, down.Checks["lookups:hit_rate"][0].Links)
	require.Equal(t, wire.HealthFail, down.Status)
}
