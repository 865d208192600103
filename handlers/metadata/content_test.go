package metadata

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// memorySite serves a directory at /with from memory, where it may.
func memorySite(t *testing.T, memory, source string) (dir, url string) {
	t.Helper()
	dir = t.TempDir()
	url, _ = lookuptest.RunCaddy(t, "", `
	root `+dir+`
	handle_path /with/* {
		file_metadata {
			memory `+memory+`
			source file_system {
				hide secret.*
				`+source+`
			}
		}
		file_server {
			hide secret.*
		}
	}`)
	return dir, url
}

// old makes a file so old that its date tells of the next change.
func old(t *testing.T, name string) {
	t.Helper()
	hourAgo := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(name, hourAgo, hourAgo))
}

func TestSmallFilesAreAnsweredFromMemory(t *testing.T) {
	dir, url := memorySite(t, "16B", "revalidate 1h")
	small, large := put(t, dir, "small.txt", "sixteen bytes..."), put(t, dir, "large.txt", "seventeen bytes..")
	empty := put(t, dir, "empty.txt", "")
	for _, name := range []string{small, large, empty} {
		old(t, name)
		written := time.Now()
		require.Eventually(t, func() bool { return time.Since(written) > 50*time.Millisecond }, time.Second, time.Millisecond)
		status, _, _ := fetch(t, http.MethodGet, url, "/with/"+filepath.Base(name))
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, os.Remove(name))
	}
	status, header, body := fetch(t, http.MethodGet, url, "/with/small.txt")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "sixteen bytes...", body)
	require.Equal(t, "text/plain; charset=utf-8", header.Get("Content-Type"))
	require.Equal(t, "16", header.Get("Content-Length"))

	status, header, body = fetch(t, http.MethodGet, url, "/with/empty.txt")
	require.Equal(t, http.StatusOK, status)
	require.Empty(t, body)
	require.Equal(t, "0", header.Get("Content-Length"))

	status, _, _ = fetch(t, http.MethodGet, url, "/with/large.txt")
	require.Equal(t, http.StatusNotFound, status, "a file that is too large was kept")
}

// As archives and rsync do it, which give files the dates they had elsewhere.
func TestReplacedFilesInMemoryAreSeenToBeOthers(t *testing.T) {
	dir, url := memorySite(t, "1MiB", "revalidate 50ms")
	date := time.Now().Add(-time.Hour)
	for _, content := range []string{"v1", "v2", "v3"} {
		next := put(t, dir, "next", content)
		require.NoError(t, os.Chtimes(next, date, date))
		require.NoError(t, os.Rename(next, filepath.Join(dir, "a.txt")))
		require.Eventually(t, func() bool {
			_, _, body := fetch(t, http.MethodGet, url, "/with/a.txt")
			return body == content
		}, 5*time.Second, 5*time.Millisecond)
	}
}

func TestFilesInMemoryChangeWithinRevalidate(t *testing.T) {
	dir, url := memorySite(t, "1MiB", "revalidate 50ms")
	get := func() string {
		_, _, body := fetch(t, http.MethodGet, url, "/with/a.txt")
		return body
	}
	name := put(t, dir, "a.txt", "one")
	old(t, name)
	require.Equal(t, "one", get())
	for i, content := range []string{"two", "the third", "two"} { // also to one of the same size
		put(t, dir, "a.txt", content)
		date := time.Now().Add(-time.Duration(i+1) * time.Minute)
		require.NoError(t, os.Chtimes(name, date, date))
		require.Eventually(t, func() bool { return get() == content }, 5*time.Second, 5*time.Millisecond)
	}
	require.NoError(t, os.Remove(name))
	require.Eventually(t, func() bool { return get() == "" }, 5*time.Second, 5*time.Millisecond)
}

// A file that is written to all the time must not be seen as a mixture of what
// it was and is, nor under a header for another content.
func TestFilesInMemoryAreWhole(t *testing.T) {
	dir, url := memorySite(t, "1MiB", "revalidate 1ms")
	content := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 1000+i%26) }
	replace := func(i int) {
		next := put(t, dir, "next", content(i))
		require.NoError(t, os.Rename(next, filepath.Join(dir, "a.txt")))
	}
	replace(0)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer close(stop)
	problems := make(chan string, 1)
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := http.Get(url + "/with/a.txt")
				if err != nil {
					continue
				}
				body := make([]byte, 2000)
				n := 0
				for err == nil && n < len(body) {
					var k int
					k, err = resp.Body.Read(body[n:])
					n += k
				}
				resp.Body.Close()
				if n == 0 || string(body[:n]) != content(int(body[0]-'a')) || resp.ContentLength != int64(n) {
					select {
					case problems <- fmt.Sprintf("%d bytes of %d: %.20s…", n, resp.ContentLength, body[:n]):
					default:
					}
				}
			}
		})
	}
	for i := range 300 {
		replace(i)
		select {
		case problem := <-problems:
			require.Fail(t, problem)
		default:
		}
	}
}

func TestHiddenFilesStayOutOfMemory(t *testing.T) {
	dir, url := memorySite(t, "1MiB", "")
	old(t, put(t, dir, "secret.txt", "secret"))
	for range 2 {
		status, _, body := fetch(t, http.MethodGet, url, "/with/secret.txt")
		require.Equal(t, http.StatusNotFound, status)
		require.NotContains(t, body, "secret")
	}
}

func TestMemoryThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ config, want string }{
		"no source":       {`"id": "x", "memory": {"max_file_size": 1}`, "memory needs source file_system"},
		"a rewrite":       {`"memory": {"max_file_size": 1}, "source": {"source": "file_system"}, "rewrite": "/x"`, "memory and rewrite exclude each other"},
		"answer off":      {`"memory": {"max_file_size": 1}, "source": {"source": "file_system"}, "answer": false`, "memory needs answer on"},
		"nothing":         {`"memory": {}, "source": {"source": "file_system"}`, "want files of at least a byte"},
		"more than there": {`"memory": {"max_file_size": 2, "max_size": 1}, "source": {"source": "file_system"}`, "no larger than the 1 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, _ := lookuptest.NewApp(t, `{}`)
			_, err := lookuptest.NewHandler(ctx, "file_metadata", "{"+test.config+"}")
			require.ErrorContains(t, err, test.want)
		})
	}
}
