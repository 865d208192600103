package metadata

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// precompressedSite serves a directory with precompressed files from memory.
func precompressedSite(t *testing.T, source string) (dir, url string) {
	t.Helper()
	dir = t.TempDir()
	url, _ = lookuptest.RunCaddy(t, "", "root "+dir+"\nfile_metadata {\nsource file_system {\n"+source+"\n}\nmemory 64KiB\nnegative_ttl 1h\n}\n"+
		"file_server {\nprecompressed br gzip\n}")
	return dir, url
}

// becomes waits until a path is answered with a body.
func becomes(t *testing.T, url, accept, body string) http.Header {
	t.Helper()
	var header http.Header
	require.Eventually(t, func() bool {
		_, h, got := ask(t, "GET", url, "Accept-Encoding", accept)
		header = h
		return got == body
	}, 5*time.Second, time.Millisecond, body)
	return header
}

func TestIndexFilesComeAndGoWithinRevalidate(t *testing.T) {
	dir, url := precompressedSite(t, "revalidate 20ms")
	status := func(path string) int {
		status, _, _ := ask(t, "GET", url+path)
		return status
	}
	require.Equal(t, http.StatusNotFound, status("/"))
	require.Equal(t, http.StatusNotFound, status("/sub/"), "there is no such directory")
	for range 3 {
		text := put(t, dir, "index.txt", "text")
		becomes(t, url+"/", "", "text")
		page := put(t, dir, "index.html", "page")
		becomes(t, url+"/", "", "page")
		require.NoError(t, os.Remove(page))
		becomes(t, url+"/", "", "text")
		require.NoError(t, os.Remove(text))
		require.Eventually(t, func() bool { return status("/") == http.StatusNotFound }, 5*time.Second, time.Millisecond)
	}
	put(t, dir, "sub/index.txt", "below")
	becomes(t, url+"/sub/", "", "below")
}

func TestADirectoryIsNeverMissingWhileItHasAnIndexFile(t *testing.T) {
	dir, url := precompressedSite(t, "revalidate 60ms")
	put(t, dir, "index.txt", "text")
	page := put(t, dir, "index.html", "page")
	// the file is checked again well before the directory is
	status, _, _ := ask(t, "GET", url+"/index.html")
	require.Equal(t, http.StatusOK, status)
	began := time.Now()
	require.Eventually(t, func() bool { return time.Since(began) > 30*time.Millisecond }, 5*time.Second, time.Millisecond)
	becomes(t, url+"/", "", "page")
	require.NoError(t, os.Remove(page))
	require.Eventually(t, func() bool {
		status, _, body := ask(t, "GET", url+"/")
		require.Equal(t, http.StatusOK, status)
		return body == "text"
	}, 5*time.Second, time.Millisecond)
}

func TestPrecompressedFilesComeAndGoWithinRevalidate(t *testing.T) {
	for name, source := range map[string]string{"dates": "revalidate 20ms", "hash": "revalidate 20ms\nhash sha256"} {
		t.Run(name, func(t *testing.T) {
			dir, url := precompressedSite(t, source)
			old, older := time.Now().Add(-time.Hour), time.Now().Add(-2*time.Hour)
			require.NoError(t, os.Chtimes(put(t, dir, "a.css", "itself"), old, old))
			require.Empty(t, becomes(t, url+"/a.css", "gzip, br", "itself").Get("Content-Encoding"))

			require.NoError(t, os.Chtimes(put(t, dir, "a.css.gz", "as gzip"), older, older))
			h := becomes(t, url+"/a.css", "gzip, br", "as gzip")
			require.Equal(t, "gzip", h.Get("Content-Encoding"), "however old it is")
			require.Equal(t, "text/css; charset=utf-8", h.Get("Content-Type"))
			require.Equal(t, old.UTC().Format(http.TimeFormat), h.Get("Last-Modified"), "the date is that of the file itself")

			put(t, dir, "a.css.br", "as brotli")
			becomes(t, url+"/a.css", "gzip, br", "as brotli")
			becomes(t, url+"/a.css", "gzip, br;q=0.5", "as gzip")
			replace(t, filepath.Join(dir, "a.css.br"), "another", old)
			h = becomes(t, url+"/a.css", "br", "another")
			require.Equal(t, "br", h.Get("Content-Encoding"))

			require.NoError(t, os.Remove(filepath.Join(dir, "a.css.br")))
			becomes(t, url+"/a.css", "gzip, br", "as gzip")
			require.NoError(t, os.Remove(filepath.Join(dir, "a.css.gz")))
			require.Empty(t, becomes(t, url+"/a.css", "gzip, br", "itself").Get("Content-Encoding"))
			require.NoError(t, os.Remove(filepath.Join(dir, "a.css")))
			require.Eventually(t, func() bool {
				status, _, _ := ask(t, "GET", url+"/a.css", "Accept-Encoding", "gzip")
				return status == http.StatusNotFound
			}, 5*time.Second, time.Millisecond)
		})
	}
}

func TestFormatsWhoseCodingIsNotKnownAreLeftToFileServer(t *testing.T) {
	t.Parallel()
	both := fileServer{Precompressed: formats("gzip", "{}", "br", "null"), PrecompressedOrder: []string{"br", "gzip"}}
	other := fileServer{Precompressed: formats("gzip", "{}", "br", "{}"), PrecompressedOrder: []string{"gzip", "br"}}
	p := precompressionOf([]fileServer{both, both})
	require.Equal(t, map[string]string{"gzip": ".gz", "br": ".br"}, p.suffixes)
	require.Equal(t, []string{"br", "gzip"}, p.order)
	require.Nil(t, precompressionOf([]fileServer{both, other}), "they differ in order")
	require.Nil(t, precompressionOf([]fileServer{both, {}}))
	require.Nil(t, precompressionOf([]fileServer{{Precompressed: formats("unknown", "{}")}}))
	require.Nil(t, precompressionOf(nil))
	require.NotNil(t, precompressionOf([]fileServer{{}, {PrecompressedOrder: []string{"br"}}}), "no format is used")
}

func TestAcceptedCodingsAreThoseOfFileServer(t *testing.T) {
	t.Parallel()
	p := &precompression{order: []string{"br", "zstd", "gzip"}}
	for i := range 3 * maxAccepted {
		for _, value := range []string{
			"", "gzip, br", fmt.Sprintf("gzip, br;q=0.%d", i), "identity", "br;q=0, GZIP", strings.Repeat("gzip, ", i) + "br",
		} {
			for _, header := range []http.Header{{"Accept-Encoding": {value}}, {"Accept-Encoding": {value, "zstd"}}, {}, {"Accept-Encoding": {value}, "Sec-Websocket-Key": {"x"}}} {
				r := &http.Request{Header: header}
				want := encode.AcceptedEncodings(r, p.order)
				for range 2 {
					require.Equal(t, strings.Join(want, " "), strings.Join(p.acceptedBy(r), " "), "%v", header)
				}
			}
		}
	}
	require.Len(t, *p.accepted.Load(), maxAccepted, "clients cannot fill the memory")
}

// formats are pairs of a format and its options.
func formats(pairs ...string) map[string]json.RawMessage {
	all := make(map[string]json.RawMessage)
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return all
}
