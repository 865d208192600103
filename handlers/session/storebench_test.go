package session

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/cache/redis"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// What a near hit on a session costs that an application wrote, as a multiple of
// one on a JSON record under an equal cookie. Batches of requests take turns, and
// the fastest batch of each counts. Run:
//
//	go test -run '^$' -bench StoreHit -benchtime 5000x ./handlers/session
//
// A pickle is decoded once and costs then what JSON costs. What a signed cookie
// costs beside that is its signature, for each request.
func BenchmarkStoreHit(b *testing.B) {
	const id = "2sz0vw39c8p8eapv8791fu34ymf1e86y"
	pickle, err := base64.StdEncoding.DecodeString("gASVSQAAAAAAAAB9lCiMCl9wZXJtYW5lbnSUiIwEdXNlcpSMBGFubmGUjAVyb2xlc5SPlCiMBmVkaXRvcpSMBnJlYWRlcpSQjAV2aWV3c5RLAXUu")
	require.NoError(b, err)
	const text = `{"_permanent":true,"roles":["editor","reader"],"user":"anna","views":1}`
	hits := []struct {
		name, config, cookie, key, value string
		serve                            func()
		fastest                          time.Duration
	}{
		{name: "JSON", config: `"id": "{http.request.cookie.sessionid}", "key": "json:{id}"`, cookie: "sessionid=" + id, key: "json:" + id, value: text},
		{name: "django", config: `"from": {"store": "django"}`, cookie: "sessionid=" + id, key: ":1:django.contrib.sessions.cache" + id, value: string(pickle)},
		{name: "express", config: `"from": {"store": "express", "secrets": ["keyboard cat"]}`,
			cookie: "connect.sid=s:abc.BpxCrWRpvZMh/wk/djl34N+m+VQEU7K/5WenLwJCgFU", key: "sess:abc", value: text},
	}
	for i := range hits {
		hit := &hits[i]
		hit.fastest = time.Hour
		ctx, app := lookuptest.NewApp(b, `{}`)
		server := redistest.Start(b)
		store, err := redis.New(redis.Options{Addresses: []string{server.Addr()}}, cache.NewStats(), slog.New(slog.DiscardHandler))
		require.NoError(b, err)
		app.Use(b, store)
		app.Cache().EnableNear(near.Options{})
		require.NoError(b, server.Client().Set(b.Context(), hit.key, hit.value, time.Hour).Err())
		h, err := lookuptest.NewHandler(ctx, "session_lookup", `{`+hit.config+`, "require": [{"field": "roles", "values": ["editor"]}]}`)
		require.NoError(b, err)
		r := lookuptest.Get("/private/report.pdf", "Cookie", "theme=dark; "+hit.cookie)
		w := httptest.NewRecorder()
		next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
		hit.serve = func() {
			clear(w.Header())
			if err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), next); err != nil {
				b.Fatal(err)
			}
		}
		require.Eventually(b, func() bool {
			hit.serve()
			return strings.Contains(w.Header().Get("Cache-Status"), "detail=near")
		}, 10*time.Second, time.Millisecond)
	}
	const batch = 100
	for b.Loop() {
		for i := range hits {
			since := time.Now()
			for range batch {
				hits[i].serve()
			}
			hits[i].fastest = min(hits[i].fastest, time.Since(since))
		}
	}
	b.ReportMetric(float64(hits[0].fastest.Nanoseconds())/batch, "ns/JSON")
	for _, hit := range hits[1:] {
		b.ReportMetric(float64(hit.fastest)/float64(hits[0].fastest), hit.name+"/JSON")
	}
}
