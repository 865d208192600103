package metadata

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// The first request for a file, with the embedded store. Run:
//
//	go test -run '^$' -bench MetadataCold -benchmem ./handlers/metadata
func BenchmarkMetadataCold(b *testing.B) {
	const files = 2000
	dir := b.TempDir()
	hourAgo := time.Now().Add(-time.Hour)
	for i := range files {
		name := filepath.Join(dir, fmt.Sprintf("%d.txt", i))
		require.NoError(b, os.WriteFile(name, make([]byte, 2048), 0o600))
		require.NoError(b, os.Chtimes(name, hourAgo, hourAgo))
	}
	for name, hash := range map[string]string{"Plain": "", "Hash": `, "hash": "sha256"`} {
		b.Run(name, func(b *testing.B) {
			next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
			w := &nowhere{header: make(http.Header)}
			var h caddyhttp.MiddlewareHandler
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%files == 0 {
					b.StopTimer()
					ctx, _ := lookuptest.NewApp(b, `{}`) // which has seen no file
					var err error
					h, err = lookuptest.NewHandler(ctx, "file_metadata", `{"source": {"source": "file_system", "root": "`+dir+`"`+hash+`}}`)
					require.NoError(b, err)
					b.StartTimer()
				}
				clear(w.header)
				r := caddyhttp.PrepareRequest(request(http.MethodGet, fmt.Sprintf("/%d.txt", i%files)), caddy.NewReplacer(), w, nil)
				if err := h.ServeHTTP(w, r, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
