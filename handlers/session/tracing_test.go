package session

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// AllocsPerRun counts those of the whole process, so this test runs alone.
func TestTracingThatIsOffCostsNoAllocation(t *testing.T) {
	app, h := session(t, `"id": "{http.request.cookie.session}", "require": [{"field": "permissions", "values": ["read"]}]`)
	app.Put(t, "session:user:abc", `{"user_id": 123, "permissions": ["write", "read"]}`)
	sampledOut := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}}))

	find := h.(*Handler)
	req := cache.Request{Key: "session:user:abc", ID: "abc"}
	require.True(t, find.Records().Find(t.Context(), req).Hit)
	without := testing.AllocsPerRun(1000, func() { find.Records().Find(t.Context(), req) })
	require.Equal(t, without, testing.AllocsPerRun(1000, func() { find.Find(t.Context(), req) }), "no trace")
	require.Equal(t, without, testing.AllocsPerRun(1000, func() { find.Find(sampledOut, req) }), "a trace that is not recorded")

	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	w := httptest.NewRecorder()
	served := func(r *http.Request) float64 {
		return testing.AllocsPerRun(1000, func() {
			clear(w.Header())
			if err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), next); err != nil {
				t.Error(err)
			}
		})
	}
	r := lookuptest.Get("/", "Cookie", "session=abc")
	require.Equal(t, served(r), served(r.WithContext(sampledOut)), "a hit, as a request sees it")
}
