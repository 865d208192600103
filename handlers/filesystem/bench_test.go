package filesystem

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// Requests to file_server over this file system and without it, in turns.
// Speedup is how many times as long it takes without. Run:
//
//	go test -run '^$' -bench . ./handlers/filesystem
//
// Handler is file_server and what Caddy needs to prepare its request; Server
// is a connection to the whole server, which the client shares the machine
// with. Slow looks names up in 5ms.
func BenchmarkFileServer(b *testing.B) {
	root := b.TempDir()
	write(b, filepath.Join(root, "2k.html"), strings.Repeat("x", 2<<10), time.Hour)
	write(b, filepath.Join(root, "100k.html"), strings.Repeat("x", 100<<10), time.Hour)
	sites := make(map[string]string)
	for host, fs := range map[string]string{"bare": "", "cached": "fs cached", "slowbare": "fs slow", "slowcached": "fs slowcached"} {
		sites[host] = "file_server {\nroot " + root + "\n" + fs + "\n}"
	}
	addr := runCaddy(b, benchFileSystems, sites)
	later := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, bench := range []struct{ name, method, path, header string }{
		{"GET2KiB", "GET", "/2k.html", ""},
		{"GET100KiB", "GET", "/100k.html", ""},
		{"HEAD", "HEAD", "/2k.html", ""},
		{"304", "GET", "/2k.html", later},
		{"404", "GET", "/none.html", ""},
	} {
		b.Run(bench.name, func(b *testing.B) {
			request := func() *http.Request {
				r := httptest.NewRequest(bench.method, bench.path, nil)
				if bench.header != "" {
					r.Header.Set("If-Modified-Since", bench.header)
				}
				return r
			}
			for _, fs := range [][2]string{{"", "cached"}, {"slow", "slowcached"}} {
				b.Run("Handler"+fs[0], func(b *testing.B) {
					compare(b, handlerRequest(b, root, fs[0], request()), handlerRequest(b, root, fs[1], request()))
				})
				b.Run("Server"+fs[0], func(b *testing.B) {
					compare(b, serverRequest(b, addr, fs[0]+"bare", request()), serverRequest(b, addr, fs[1], request()))
				})
			}
		})
	}
}

const benchFileSystems = `
	filesystem cached lookup_cache
	filesystem slow test_slow 5ms
	filesystem slowcached lookup_cache {
		fs test_slow 5ms
	}`

// compare does two things in turns, and compares their medians, which other
// work of the machine does not move much.
func compare(b *testing.B, bare, cached func()) {
	bare()
	cached()
	var took [2][]time.Duration
	for turn := 0; b.Loop(); turn++ {
		for i := range 2 {
			which := (turn + i) % 2
			start := time.Now()
			[...]func(){bare, cached}[which]()
			took[which] = append(took[which], time.Since(start))
		}
	}
	var median [2]float64
	for i, times := range took {
		slices.Sort(times)
		median[i] = float64(times[len(times)/2])
	}
	b.ReportMetric(median[0], "bare-ns")
	b.ReportMetric(median[1], "cached-ns")
	b.ReportMetric(median[0]/median[1], "speedup")
}

func handlerRequest(b *testing.B, root, fs string, r *http.Request) func() {
	ctx, cancel := caddy.NewContext(caddy.ActiveContext())
	b.Cleanup(cancel)
	config := fmt.Sprintf(`{"root": %q, "fs": %q}`, root, fs)
	v, err := ctx.LoadModuleByID("http.handlers.file_server", json.RawMessage(config))
	require.NoError(b, err)
	h := v.(caddyhttp.MiddlewareHandler)
	w := httptest.NewRecorder()
	return func() {
		clear(w.Header())
		w.Body.Reset()
		_ = h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), nil)
	}
}

func serverRequest(b *testing.B, addr, host string, r *http.Request) func() {
	conn, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	b.Cleanup(func() { conn.Close() })
	var text strings.Builder
	r.Host = host
	require.NoError(b, r.Write(&text))
	in := bufio.NewReaderSize(conn, 64<<10)
	return func() {
		_, err := io.WriteString(conn, text.String())
		if err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(in, r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}
