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
)

// sha256Tag is the strong tag of a content.
func sha256Tag(content string) string {
	sum := sha256.Sum256([]byte(content))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// ask sends a request with header fields, each a name and a value.
func ask(t *testing.T, method, url string, header ...string) (status int, h http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(content)
}

// replace puts another content under a name as deployments do, by rename.
func replace(t *testing.T, name, content string, date time.Time) {
	t.Helper()
	require.NoError(t, os.WriteFile(name+".new", []byte(content), 0o644))
	require.NoError(t, os.Chtimes(name+".new", date, date))
	require.NoError(t, os.Rename(name+".new", name))
}

func TestPartsOfTwoFilesAreNeverJoined(t *testing.T) {
	for name, c := range map[string]struct {
		source   string
		sameDate bool
	}{
		"hash":                  {"hash sha256\nrevalidate 1h", false},
		"hash, with its date":   {"hash sha256\nrevalidate 1h", true},
		"date":                  {"revalidate 1h", false},
		"hash, seen at once":    {"hash sha256\nrevalidate 1ms", true},
		"date, checked at once": {"revalidate 1ms", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, url, _ := filesSite(t, c.source)
			date := time.Now().Add(-time.Hour)
			file := put(t, dir, "a.txt", "old content")
			require.NoError(t, os.Chtimes(file, date, date))
			var tag string
			require.Eventually(t, func() bool {
				_, h, _ := ask(t, "GET", url+"/with/a.txt")
				tag = h.Get("Etag")
				return tag != ""
			}, 5*time.Second, time.Millisecond)

			status, h, body := ask(t, "GET", url+"/with/a.txt", "Range", "bytes=4-", "If-Range", tag)
			require.Equal(t, http.StatusPartialContent, status)
			require.Equal(t, "content", body)
			require.Equal(t, tag, h.Get("Etag"))

			if !c.sameDate {
				date = date.Add(time.Minute)
			}
			replace(t, file, "NEW CONTENT", date)
			for _, ranges := range []string{"bytes=4-", "bytes=-7", "bytes=0-1,4-5"} {
				status, h, body = ask(t, "GET", url+"/with/a.txt", "Range", ranges, "If-Range", tag)
				require.Equal(t, http.StatusOK, status, ranges)
				require.Equal(t, "NEW CONTENT", body)
				require.NotEqual(t, tag, h.Get("Etag"))
			}
			for _, header := range [][]string{nil, {"Range", "bytes=0-2"}, {"Range", "bytes=0-1,3-4"}, {"If-None-Match", `"other"`}} {
				status, h, body = ask(t, "GET", url+"/with/a.txt", header...)
				require.Less(t, status, 300)
				require.Contains(t, body, "NE")
				require.NotEqual(t, tag, h.Get("Etag"), "an old tag on new content: %v", header)
			}
			status, _, body = ask(t, "GET", url+"/with/a.txt", "If-Match", tag)
			require.Equal(t, http.StatusPreconditionFailed, status)
			require.NotContains(t, body, "NEW")
		})
	}
}

func TestIndexFilesAndPrecompressedFilesHaveRecordsAndTagsOfTheirOwn(t *testing.T) {
	dir, url, app := filesSite(t, "hash sha256")
	put(t, dir, "index.html", "the index")
	put(t, dir, "sub/index.txt", "the other index")
	put(t, dir, "big.css", "all of it")
	put(t, dir, "big.css.gz", "less")
	for path, content := range map[string]string{"/": "the index", "/sub/": "the other index", "/big.css.gz": "less"} {
		require.Eventually(t, func() bool {
			_, h, body := ask(t, "GET", url+"/with"+path)
			require.Equal(t, content, body)
			return h.Get("Etag") == sha256Tag(content)
		}, 5*time.Second, time.Millisecond, path)
		_, h, _ := ask(t, "HEAD", url+"/with"+path)
		require.Equal(t, sha256Tag(content), h.Get("Etag"))
		require.Contains(t, h.Get("Cache-Status"), "; hit;")
		status, _, _ := ask(t, "GET", url+"/with"+path, "If-None-Match", sha256Tag(content))
		require.Equal(t, http.StatusNotModified, status)
	}
	for _, name := range []string{"index.html", "sub/index.txt", "big.css.gz"} {
		entry, err := app.Cache().Get(t.Context(), "file:meta:"+filepath.Join(dir, name))
		require.NoError(t, err)
		require.NotNil(t, entry.Record, name)
		require.Contains(t, entry.Record.Text(), "sha256")
	}
	status, h, _ := ask(t, "GET", url+"/with/sub")
	require.Equal(t, http.StatusPermanentRedirect, status, "as file_server has it")
	require.Empty(t, h.Get("Etag"))
}

func TestRecordsOfAnotherNodeAreReplacedOnce(t *testing.T) {
	for _, source := range []string{"revalidate 1ms", "hash sha256\nrevalidate 1ms"} {
		t.Run(source, func(t *testing.T) { replacedOnce(t, source) })
	}
}

func replacedOnce(t *testing.T, source string) {
	dir, url, app := filesSite(t, source)
	put(t, dir, "a.txt", "content")
	key := "file:meta:" + filepath.Join(dir, "a.txt")
	loads := func() uint64 { return app.Cache().Stats().Snapshot().Sources["file_system"].Requests }
	head := func() (string, string) {
		_, h, _ := ask(t, "HEAD", url+"/with/a.txt")
		return h.Get("Content-Length"), h.Get("Etag")
	}
	require.Eventually(t, func() bool { _, tag := head(); return tag != "" }, 5*time.Second, time.Millisecond)
	_, own := head()
	before := loads()
	for range 30 {
		// another node has another file, and writes what it has
		for _, other := range []string{
			`{"name": "a.txt", "size": 7, "modified": "2020-01-01T00:00:00Z", "etag": "\"other\""}`,
			`{"name": "a.txt", "size": 8, "modified": "2020-01-01T00:00:00Z", "etag": "\"x\"", "sha256": "` + strings.Repeat("a", 64) + `"}`,
			`null`, `{"regular": false}`,
		} {
			app.Put(t, key, other)
			size, tag := head()
			require.Equal(t, "7", size, other)
			require.Equal(t, own, tag, other)
		}
	}
	require.LessOrEqual(t, loads()-before, uint64(2), "each request replaces the record of the other node")
}
