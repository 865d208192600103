package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// filesSite serves a directory with and without metadata, at /with and /bare.
func filesSite(t *testing.T, source string) (dir, url string, app *lookuptest.App) {
	t.Helper()
	dir = t.TempDir()
	url, app = lookuptest.RunCaddy(t, "", `
	root `+dir+`
	handle_path /with/* {
		file_metadata {
			source file_system {
				hide secret.* .git
				`+source+`
			}
		}
		file_server {
			hide secret.* .git
		}
	}
	handle_path /bare/* {
		file_server {
			hide secret.* .git
		}
	}`)
	return dir, url, app
}

func put(t *testing.T, dir, name, content string) string {
	t.Helper()
	name = filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
	return name
}

// fetch sends a path as it is, unlike http.Get, which would clean it.
func fetch(t *testing.T, method, url, path string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	req.URL.Opaque = path
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return resp.StatusCode, resp.Header, string(content)
}

func TestChangesOfFilesAreSeenWithinRevalidate(t *testing.T) {
	dir, url, _ := filesSite(t, "revalidate 50ms")
	head := func() string {
		status, header, _ := fetch(t, http.MethodHead, url, "/with/a.txt")
		if status != http.StatusOK {
			return http.StatusText(status)
		}
		return header.Get("Content-Length")
	}
	becomes := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool { return head() == want }, 5*time.Second, 5*time.Millisecond)
	}
	require.Equal(t, "Not Found", head())
	name := put(t, dir, "a.txt", "one")
	becomes("3")
	put(t, dir, "a.txt", "three")
	becomes("5")
	require.NoError(t, os.Remove(name))
	becomes("Not Found")
	require.NoError(t, os.Mkdir(name, 0o755))
	require.Eventually(t, func() bool {
		_, header, _ := fetch(t, http.MethodHead, url, "/with/a.txt")
		return !strings.Contains(header.Get("Cache-Status"), "detail=absent")
	}, 5*time.Second, 5*time.Millisecond, "a directory is no missing file")
}

func TestHashIsTheTagWhateverTheDate(t *testing.T) {
	dir, url, app := filesSite(t, "hash sha256\nrevalidate 20ms")
	name := put(t, dir, "a.txt", "content")
	sum := sha256.Sum256([]byte("content"))
	want := `"` + hex.EncodeToString(sum[:]) + `"`
	head := func() string {
		_, header, _ := fetch(t, http.MethodHead, url, "/with/a.txt")
		return header.Get("Etag")
	}
	for i := range 3 {
		date := time.Now().Add(-time.Duration(i+1) * time.Hour)
		require.NoError(t, os.Chtimes(name, date, date))
		require.Eventually(t, func() bool { return head() == want }, 5*time.Second, time.Millisecond)
		for range 10 {
			_, header, body := fetch(t, http.MethodGet, url, "/with/a.txt")
			require.Equal(t, "content", body)
			require.Contains(t, []string{want, ""}, header.Get("Etag"), "until the hash is known there is no tag")
		}
	}
	keys, _, err := app.Cache().Store().Scan(t.Context(), "file:meta:sha256:", "", 100)
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	require.LessOrEqual(t, len(keys), 4, "hashed more than once per change")

	put(t, dir, "a.txt", "another")
	sum = sha256.Sum256([]byte("another"))
	require.Eventually(t, func() bool {
		_, header, _ := fetch(t, http.MethodHead, url, "/with/a.txt")
		return header.Get("Etag") == `"`+hex.EncodeToString(sum[:])+`"`
	}, 5*time.Second, 5*time.Millisecond)
}

func TestNothingIsRevealedThatFileServerHides(t *testing.T) {
	dir, url, app := filesSite(t, "revalidate 1h")
	put(t, dir, "a.txt", "a")
	put(t, dir, "secret.txt", "secret")
	put(t, dir, ".git/config", "secret")
	put(t, dir, "folder/index.html", "index")
	put(t, dir, "folder/b.txt", "b")
	put(t, filepath.Dir(dir), "outside.txt", "outside")
	require.NoError(t, os.Symlink(filepath.Join(dir, "a.txt"), filepath.Join(dir, "link.txt")))
	for _, path := range []string{
		"/a.txt", "/a.txt/", "/a.txt/b", "//a.txt", "/./a.txt", "/folder", "/folder/", "/folder/index.html", "/folder/b.txt",
		"/secret.txt", "/secret.none", "/folder/secret.txt", "/.git", "/.git/", "/.git/config", "/link.txt",
		"/../outside.txt", "/%2e%2e/outside.txt", "/folder/../../outside.txt", "/folder/%2e%2e/a.txt", "/..%2foutside.txt",
		"/a.txt%00", "/a.txt%0a", "/%ff", "/a%5c.txt", "/A.TXT", "/none", "/none/", "/folder/none", "/" + strings.Repeat("x", 300),
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for range 2 { // the second time from the cache
				status, header, body := fetch(t, method, url, "/with"+path)
				wantStatus, wantHeader, wantBody := fetch(t, method, url, "/bare"+path)
				require.Equal(t, wantStatus, status, "%s %s", method, path)
				require.Equal(t, strings.Replace(wantBody, "/bare", "/with", 1), body, "%s %s", method, path)
				for _, name := range []string{"Etag", "Last-Modified", "Content-Length", "Location"} {
					require.Equal(t, strings.Replace(wantHeader.Get(name), "/bare", "/with", 1), header.Get(name), "%s %s: %s", method, path, name)
				}
			}
		}
	}
	keys, _, err := app.Cache().Store().Scan(t.Context(), "file:meta:", "", 1000)
	require.NoError(t, err)
	for _, key := range keys {
		require.NotContains(t, key, "secret")
		require.NotContains(t, key, ".git")
		require.Contains(t, key, dir, "a file outside of the root was looked at")
	}
	require.NotEmpty(t, keys)
}
