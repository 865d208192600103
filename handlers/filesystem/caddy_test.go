package filesystem

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFileServerSeesChangesWithinTheTTL(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "dir", "x.txt"), "x", time.Hour)
	addr := runCaddy(t, "filesystem fast lookup_cache {\nttl 50ms\n}", map[string]string{
		"site": "root " + root + "\nfs fast\ntry_files {path} {path}.html {path}/\nfile_server {\nprecompressed gzip\n}",
	})
	c := client(t, addr)
	soon := func(path string, status int, body string) {
		t.Helper()
		require.Eventually(t, func() bool {
			r := ask(t, c, "GET", "http://site"+path, "Accept-Encoding", "gzip")
			return r.Status == status && (status != 200 || r.Body == body) && !r.Cut
		}, 5*time.Second, time.Millisecond)
	}
	at := func(name string) string { return filepath.Join(root, name) }
	soon("/page", 404, "")
	write(t, at("page.html"), "appears", time.Hour)
	soon("/page", 200, "appears")
	replace(t, at("page.html"), "is replaced", time.Minute)
	soon("/page", 200, "is replaced")
	write(t, at("page.html"), "changes in place", time.Second)
	soon("/page", 200, "changes in place")
	write(t, at("page.html.gz"), "has a sidecar", time.Second)
	soon("/page", 200, "has a sidecar")
	write(t, at("page"), "has precedence", time.Second)
	soon("/page", 200, "has precedence")
	require.NoError(t, os.Remove(at("page")))
	require.NoError(t, os.Remove(at("page.html")))
	soon("/page", 404, "")
	soon("/dir/", 404, "")
	write(t, at("dir/index.html"), "an index", time.Second)
	soon("/dir/", 200, "an index")
	require.NoError(t, os.RemoveAll(at("dir")))
	soon("/dir/", 404, "")
}

func TestTheDefaultFileSystemCanBeCached(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(root, "a.txt")
	write(t, name, "as it was", time.Hour)
	addr := runCaddy(t, "filesystem default lookup_cache {\nttl 1h\n}", map[string]string{"site": "root " + root + "\nfile_server"})
	c := client(t, addr)
	require.Equal(t, "as it was", ask(t, c, "GET", "http://site/a.txt").Body)
	replace(t, name, "as it is", time.Minute)
	require.Equal(t, "as it was", ask(t, c, "GET", "http://site/a.txt").Body)
}

func TestDownloadsContinueWhenTheConfigurationChanges(t *testing.T) {
	root := t.TempDir()
	content := strings.Repeat("0123456789abcdef", 1<<20) // more than fits into the buffers of a connection
	write(t, filepath.Join(root, "large"), content, time.Hour)
	sites := map[string]string{"site": "root " + root + "\nfs fast\nfile_server"}
	addr := runCaddy(t, "filesystem fast lookup_cache", sites)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://site/large", nil)
	require.NoError(t, err)
	resp, err := client(t, addr).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	start := make([]byte, 1000)
	_, err = io.ReadFull(resp.Body, start)
	require.NoError(t, err)

	stopped := make(chan error)
	go func() { stopped <- caddy.Stop() }() // waits for the download within the grace period
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, <-stopped)
	require.True(t, content == string(start)+string(rest))
}

func TestEveryResponseIsWholeWhileFilesAreReplaced(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(root, "a.txt")
	replace(t, name, strings.Repeat("0", 10_000), time.Hour)
	addr := runCaddy(t, "filesystem fast lookup_cache {\nttl 2ms\n}", map[string]string{"site": "root " + root + "\nfs fast\nfile_server"})
	stop := make(chan struct{})
	var writer, readers sync.WaitGroup
	writer.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				replace(t, name, strings.Repeat(string(rune('0'+n%10)), 10_000+n%10*1000), time.Hour+time.Duration(n)*time.Second)
			}
		}
	})
	for range 4 {
		c := client(t, addr)
		readers.Go(func() {
			for range 200 {
				got := ask(t, c, "GET", "http://site/a.txt")
				whole := got.Status == 200 && !got.Cut && len(got.Body) > 0 &&
					len(got.Body) == 10_000+int(got.Body[0]-'0')*1000 &&
					got.Body == strings.Repeat(got.Body[:1], len(got.Body))
				if !assert.True(t, whole, "parts of two files: status %d, cut %t, %d bytes", got.Status, got.Cut, len(got.Body)) {
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writer.Wait()
}
