package session

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// A hit in the memory store, as a request of a browser sees it. Run:
//
//	go test -run '^$' -bench SessionHit -benchmem ./handlers
//
// BareRequest is what Caddy itself needs to prepare each request; what is above
// it is ours, within 2µs. Our allocations: what is published (2), the key,
// Cache-Status, and one for each copied header.
func BenchmarkSessionHit(b *testing.B) {
	for name, config := range map[string]string{
		"Plain": `"id": "{http.request.cookie.session}"`,
		"Gated": `"id": "{http.request.cookie.session}", "require": [{"field": "permissions", "values": ["read"]}],
			"copy_headers": [{"field": "user_id", "header": "X-User-Id"}]`,
	} {
		b.Run(name, func(b *testing.B) {
			app, h := session(b, config)
			app.Put(b, "session:user:0123456789abcdef", `{"user_id": 123, "name": "Ada Lovelace", "email": "ada@example.com", "permissions": ["write", "read"], "expires_at": 9999999999}`)
			benchmarkHandler(b, h)
		})
	}
	b.Run("BareRequest", func(b *testing.B) { benchmarkHandler(b, lookuptest.Chain{}) })
}

func benchmarkHandler(b *testing.B, h caddyhttp.MiddlewareHandler) {
	r := lookuptest.Get("/private/report.pdf", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64)", "Accept", "*/*",
		"Accept-Language", "en", "Accept-Encoding", "gzip, br", "Cookie", "theme=dark; session=0123456789abcdef", "Referer", "https://example.com/")
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		clear(w.Header())
		r := caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		if err := h.ServeHTTP(w, r, next); err != nil {
			b.Fatal(err)
		}
	}
}
