package metadata

import (
	"cmp"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// A hit of file_metadata with source file_system. Run:
//
//	go test -run '^$' -bench 'MetadataHit|SessionHit' -benchmem ./handlers/...
//
// What is above SessionHit/BareRequest is ours, within 2µs. Our allocations:
// what is published (2), the key, Cache-Status, and the response writer, which
// has room for all headers.
func BenchmarkMetadataHit(b *testing.B) {
	benchmarkMetadata(b, []metadataRequest{
		{name: "Next", method: http.MethodGet},
		{name: "HEAD", method: http.MethodHead, status: http.StatusOK},
		{name: "304", method: http.MethodGet, header: []string{"If-Modified-Since", time.Now().UTC().Format(http.TimeFormat)}, status: http.StatusNotModified},
		{name: "Memory", method: http.MethodGet, memory: `, "memory": {"max_file_size": 4096}`, status: http.StatusOK},
		{name: "Index", method: http.MethodGet, path: "/", memory: `, "memory": {"max_file_size": 4096}`, status: http.StatusOK},
	})
}

// A hit of a precompressed file, which has two lookups.
func BenchmarkMetadataPrecompressed(b *testing.B) {
	browser := []string{"Accept-Encoding", "gzip, deflate, br, zstd"}
	benchmarkMetadata(b, []metadataRequest{
		{name: "Next", method: http.MethodGet, path: "/page.css", header: browser},
		{name: "HEAD", method: http.MethodHead, path: "/page.css", header: browser, status: http.StatusOK},
		{name: "Memory", method: http.MethodGet, path: "/page.css", header: browser, memory: `, "memory": {"max_file_size": 4096}`, status: http.StatusOK},
	})
}

// metadataRequest is a request of a benchmark.
type metadataRequest struct {
	name, method, memory string
	path                 string
	header               []string
	status               int
}

func benchmarkMetadata(b *testing.B, requests []metadataRequest) {
	dir := b.TempDir()
	hourAgo := time.Now().Add(-time.Hour)
	for _, name := range []string{"report.pdf", "index.html", "page.css", "page.css.gz", "page.css.br", "page.css.zst"} {
		name := filepath.Join(dir, name)
		require.NoError(b, os.WriteFile(name, make([]byte, 2048), 0o600))
		require.NoError(b, os.Chtimes(name, hourAgo, hourAgo))
	}
	for _, c := range requests {
		b.Run(c.name, func(b *testing.B) {
			ctx, _ := lookuptest.NewApp(b, `{}`)
			h, err := lookuptest.NewHandler(ctx, "file_metadata", `{"source": {"source": "file_system", "root": "`+dir+`", "hide": ["secret"]}`+c.memory+`}`)
			require.NoError(b, err)
			h.(*Handler).precompressed = (&fileServer{Precompressed: formats("br", "", "zstd", "", "gzip", ""), PrecompressedOrder: []string{"br", "zstd", "gzip"}}).precompression()
			r := request(c.method, cmp.Or(c.path, "/report.pdf"), c.header...)
			next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
			header := r.Header.Clone()
			w := &nowhere{header: make(http.Header)}
			serve := func() {
				clear(w.header)
				w.status = 0
				maps.Copy(r.Header, header) // the handler takes out what it has decided
				r := caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
				if err := h.ServeHTTP(w, r, next); err != nil {
					b.Fatal(err)
				}
			}
			// a file that was written just now is not kept in memory yet
			require.Eventually(b, func() bool { serve(); return w.status == c.status }, time.Second, time.Millisecond)
			b.ReportAllocs()
			for b.Loop() {
				serve()
				if w.status != c.status {
					b.Fatal("status", w.status)
				}
			}
		})
	}
}

// nowhere is a client that costs nothing.
type nowhere struct {
	httptest.ResponseRecorder
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(status int)      { w.status = status }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
