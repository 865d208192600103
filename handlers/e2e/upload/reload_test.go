package upload

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// clients counts the connections to a Redis, the test's own among them.
func clients(t *testing.T, server *redistest.Server) int {
	t.Helper()
	list, err := server.Client().ClientList(t.Context()).Result()
	require.NoError(t, err)
	return strings.Count(list, "\n")
}

// A configuration with another Redis has neither the uploads nor the listeners of the one
// before. They keep the store with which they began.
func TestUploadsAndListenersKeepTheirStoreOverAReload(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	idle := clients(t, first)
	app := newUploadApp(t)
	s := serve(t, redisOption(first), uploadRoutes+app.route())
	u := startUpload(t, http.DefaultClient, "http://"+s.Page+"/upload/a", 1_000_000)
	u.send(t, 100)
	s.await(t, "a", func(p progress) bool { return p.Received == 100 })
	events, _ := s.listen(t, "a")
	next(t, events)

	s.Load(t, redisOption(second), uploadRoutes+app.route())
	reloaded, sent := time.Now(), int64(100)
	_, known := s.report(t, "a")
	require.False(t, known, "the new store has nothing of the old one")
	// longer than a store stays open for requests that are on their way
	require.Eventually(t, func() bool {
		u.send(t, 1000)
		sent += 1000
		return time.Since(reloaded) > 7*time.Second
	}, 20*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool { return next(t, events).Received == sent }, 10*time.Second, time.Millisecond)
	require.Greater(t, clients(t, first), idle)

	u.send(t, int(1_000_000-sent))
	require.NoError(t, u.Close())
	require.Equal(t, http.StatusOK, <-u.status)
	var last event
	for e := range events {
		last = e
	}
	require.Equal(t, "end", last.Name)
	require.Equal(t, "done", last.Status)
	record, err := first.Client().Get(t.Context(), "temp:upload:progress:a").Result()
	require.NoError(t, err)
	require.Contains(t, record, `"status":"done"`)
	require.Zero(t, second.Client().Exists(t.Context(), "temp:upload:progress:a").Val())
	require.Eventually(t, func() bool { return clients(t, first) == idle }, 10*time.Second, 10*time.Millisecond,
		"the old store is still open")
}

// The listener alone keeps the store, too: the upload runs on another node.
func TestAListenerKeepsItsStoreOverAReload(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	idle := clients(t, first)
	s := serve(t, redisOption(first), uploadRoutes)
	set := func(text string) {
		require.NoError(t, first.Client().Set(t.Context(), "temp:upload:progress:a", text, time.Hour).Err())
	}
	set(`{"status": "uploading", "progress": 1, "timestamp": 1, "started": 1}`)
	events, _ := s.listen(t, "a")
	next(t, events)
	s.Load(t, redisOption(second), uploadRoutes)
	reloaded := time.Now()
	require.Eventually(t, func() bool { return time.Since(reloaded) > 7*time.Second }, 20*time.Second, 50*time.Millisecond)
	set(`{"status": "done", "progress": 100, "timestamp": 2, "started": 1}`)
	require.Equal(t, "done", next(t, events).Status)
	require.Equal(t, "end", next(t, events).Name)
	require.Eventually(t, func() bool { return clients(t, first) == idle }, 10*time.Second, 10*time.Millisecond,
		"the old store is still open")
}
