package filesource_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

// listAll lists the files of the first route, as a warm-up does.
func listAll(t *testing.T, app *lookuptest.App) (n int) {
	t.Helper()
	lister := app.Lookups().Named(app.Lookups().Names()[0])[0].Source().(source.Lister)
	for _, err := range lister.List(t.Context(), caddy.NewReplacer()) {
		require.NoError(t, err)
		n++
	}
	return n
}

// encodings requests a file and returns the encodings in its record.
func encodings(t *testing.T, app *lookuptest.App, url, dir, name string) string {
	t.Helper()
	status, _, _ := request(t, "HEAD", url+"/"+name)
	require.Equal(t, 200, status, name)
	entry, err := app.Cache().Get(t.Context(), "file:meta:"+dir+"/"+name)
	require.NoError(t, err)
	require.NotNil(t, entry.Record, name)
	value, _ := entry.Record.Field("encodings")
	return value.JSON()
}

// What a listing has seen of precompressed files holds as long as a check of a file.
func TestLoadsLookForNoPrecompressedFilesThatWereSeenMissing(t *testing.T) {
	for revalidate, want := range map[string]string{"1h": "", "1ms": `["gzip"]`} {
		t.Run(revalidate, func(t *testing.T) {
			dir := t.TempDir()
			url, app := lookuptest.RunCaddy(t, "", "root "+dir+"\nfile_metadata {\nsource file_system {\nroot "+dir+"\nrevalidate "+revalidate+"\n}\n}\nfile_server")
			write := func(names ...string) {
				for _, name := range names {
					require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
					require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
				}
			}
			write("a.txt", "sub/b.txt", "sub/c.txt", "sub/c.txt.zst", "e.txt", "e.txt.br/f")
			require.Equal(t, 6, listAll(t, app))
			for name, want := range map[string]string{
				"sub/c.txt": `["zstd"]`, "e.txt": "", "sub/c.txt.zst": "",
			} {
				require.Equal(t, want, encodings(t, app, url, dir, name), name)
			}
			write("a.txt.gz", "sub/b.txt.gz", "later/g.txt", "later/g.txt.gz")
			for _, name := range []string{"a.txt", "sub/b.txt"} {
				require.Eventually(t, func() bool { return encodings(t, app, url, dir, name) == want }, 5*time.Second, time.Millisecond, name)
			}
			require.Equal(t, `["gzip"]`, encodings(t, app, url, dir, "later/g.txt"), "its directory was not listed")
		})
	}
}

func TestAListingOfAnyNumberOfPrecompressedFilesIsTrue(t *testing.T) {
	const n = 12_000 // more than are kept
	dir := t.TempDir()
	url, app := lookuptest.RunCaddy(t, "", "root "+dir+"\nfile_metadata {\nsource file_system {\nroot "+dir+"\nrevalidate 1h\n}\n}\nfile_server")
	target := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(target, []byte("x"), 0o600))
	for i := range n {
		require.NoError(t, os.Link(target, filepath.Join(dir, fmt.Sprint(i, ".txt.gz"))))
	}
	for i := 0; i < n; i += 1000 {
		require.NoError(t, os.Link(target, filepath.Join(dir, fmt.Sprint(i, ".txt"))))
	}
	require.Equal(t, n+n/1000, listAll(t, app))
	for i := 0; i < n; i += 1000 {
		require.Equal(t, `["gzip"]`, encodings(t, app, url, dir, fmt.Sprint(i, ".txt")))
	}
}
