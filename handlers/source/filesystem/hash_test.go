package filesource_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
)

// site serves a directory at /, and the odd files at /odd.
func site(t *testing.T, source string) (dir, url string, app *lookuptest.App) {
	t.Helper()
	dir = t.TempDir()
	metadata := "file_metadata {\nsource file_system {\n" + source + "\n}\n}\nfile_server"
	url, app = lookuptest.RunCaddy(t, "filesystem odd odd", "handle_path /odd/* {\nfs odd\nroot .\n"+metadata+"\n}\nhandle_path /bare/* {\n"+
		"fs odd\nroot .\nfile_server\n}\nroot "+dir+"\n"+metadata)
	return dir, url, app
}

func request(t *testing.T, method, url string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(body)
}

func tagOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func requireTag(t *testing.T, url, content string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, h, _ := request(t, "HEAD", url)
		return h.Get("Etag") == tagOf(content)
	}, 5*time.Second, time.Millisecond)
}

func sums(t *testing.T, app *lookuptest.App) []string {
	t.Helper()
	keys, _, err := app.Cache().Store().Scan(t.Context(), "file:meta:sha256:", "", 1000)
	require.NoError(t, err)
	return keys
}

func TestContentWithTheSameSizeAndDateGetsAnotherTag(t *testing.T) {
	dir, url, _ := site(t, "hash sha256\nrevalidate 1ms")
	for _, date := range []time.Time{time.Now().Add(-time.Hour), time.Unix(0, 0), time.Unix(1, 0)} {
		for _, content := range []string{"one", "two", "six", "ten"} {
			name := filepath.Join(dir, "a.txt")
			require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
			require.NoError(t, os.Chtimes(name, date, date))
			requireTag(t, url+"/a.txt", content)
			_, h, body := request(t, "GET", url+"/a.txt")
			require.Equal(t, content, body)
			require.Equal(t, tagOf(content), h.Get("Etag"))
		}
	}
}

func TestFilesWithoutDatesHaveHashes(t *testing.T) {
	_, url, _ := site(t, "hash sha256")
	for _, name := range []string{"none.txt", "epoch.txt", "second.txt", "2026.txt"} {
		requireTag(t, url+"/odd/"+name, name)
		_, h, _ := request(t, "GET", url+"/odd/"+name)
		require.Equal(t, tagOf(name), h.Get("Etag"))
	}
}

func TestUnusualDatesAreSentAsFileServerSendsThem(t *testing.T) {
	_, url, _ := site(t, "revalidate 1h")
	for name := range oddDates {
		for range 2 {
			for _, header := range [][]string{nil, {"If-Modified-Since", "Fri, 01 Jan 1700 00:00:00 GMT"}, {"If-Unmodified-Since", "Fri, 01 Jan 2200 00:00:00 GMT"}} {
				for _, method := range []string{"GET", "HEAD"} {
					status, h, _ := request(t, method, url+"/odd/"+name, header...)
					wantStatus, want, _ := request(t, method, url+"/bare/"+name, header...)
					require.Equal(t, wantStatus, status, "%s %s %v", method, name, header)
					require.Equal(t, want.Get("Last-Modified"), h.Get("Last-Modified"), "%s %s %v", method, name, header)
					require.Equal(t, want.Get("Etag"), h.Get("Etag"), "%s %s %v", method, name, header)
				}
			}
		}
	}
}

func TestAHugeFileIsServedWhileItIsHashed(t *testing.T) {
	dir, url, app := site(t, "hash sha256\nrevalidate 1ms")
	name := filepath.Join(dir, "huge.bin")
	require.NoError(t, os.WriteFile(name, nil, 0o644))
	require.NoError(t, os.Truncate(name, 150<<30))
	date := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(name, date, date))
	for range 20 {
		began := time.Now()
		status, h, body := request(t, "GET", url+"/huge.bin", "Range", "bytes=0-0")
		require.Equal(t, http.StatusPartialContent, status)
		require.Equal(t, "\x00", body)
		require.Empty(t, h.Get("Etag"))
		require.Less(t, time.Since(began), 2*time.Second)
	}
	require.Empty(t, sums(t, app))
}

func TestSmallFilesDoNotWaitForTheHashOfALargeOne(t *testing.T) {
	dir, url, app := site(t, "hash sha256\nrevalidate 1ms")
	name := filepath.Join(dir, "large.bin")
	require.NoError(t, os.WriteFile(name, nil, 0o644))
	require.NoError(t, os.Truncate(name, 512<<20))
	began := time.Now()
	require.Eventually(t, func() bool {
		status, h, _ := request(t, "HEAD", url+"/large.bin")
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, h.Get("Etag"))
		return time.Since(began) > 1100*time.Millisecond // it is hashed once it has been unchanged for a second
	}, 10*time.Second, 10*time.Millisecond)
	for i := range 20 {
		small := fmt.Sprintf("small%d.txt", i)
		require.NoError(t, os.WriteFile(filepath.Join(dir, small), []byte(small), 0o644))
		requireTag(t, url+"/"+small, small)
	}
	require.Len(t, sums(t, app), 20, "the large file is still being hashed")
}

func TestFilesAboveTheLimitAreNotHashed(t *testing.T) {
	dir, url, app := site(t, "hash sha256 1KiB\nrevalidate 1ms")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "small.txt"), []byte("small"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "large.txt"), make([]byte, 2048), 0o644))
	requireTag(t, url+"/small.txt", "small")
	_, h, _ := request(t, "HEAD", url+"/large.txt")
	require.NotEmpty(t, h.Get("Etag"), "it has the tag of file_server")
	require.Len(t, sums(t, app), 1)
}

func TestAGrowingFileIsNotHashedAtEachRequest(t *testing.T) {
	dir, url, app := site(t, "hash sha256\nrevalidate 1ms")
	file, err := os.Create(filepath.Join(dir, "growing.log"))
	require.NoError(t, err)
	defer file.Close()
	// hashing it is expected to take 64 ms
	require.NoError(t, file.Truncate(32<<20))
	for range 50 {
		_, err := file.WriteAt([]byte("x"), 32<<20-1)
		require.NoError(t, err)
		_, err = file.Seek(0, io.SeekEnd)
		require.NoError(t, err)
		_, err = file.Write([]byte(strings.Repeat("line\n", 100)))
		require.NoError(t, err)
		status, h, _ := request(t, "HEAD", url+"/growing.log")
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, h.Get("Etag"))
	}
	require.LessOrEqual(t, len(sums(t, app)), 5)
	require.Eventually(t, func() bool {
		_, h, _ := request(t, "HEAD", url+"/growing.log")
		return h.Get("Etag") != ""
	}, 20*time.Second, 10*time.Millisecond, "it is hashed once it has stopped growing")
}

func TestASmallFileThatGrowsIsNotHashedAtEachChange(t *testing.T) {
	dir, url, app := site(t, "hash sha256\nrevalidate 1ms")
	name := filepath.Join(dir, "growing.log")
	var content strings.Builder
	began := time.Now()
	const hashedWithin = 30 * time.Millisecond // where nothing holds it back
	changes := 0
	for ; time.Since(began) < 3*time.Second; changes++ {
		content.WriteString("line\n")
		require.NoError(t, os.WriteFile(name, []byte(content.String()), 0o644))
		for end := time.Now().Add(2 * hashedWithin); time.Now().Before(end); {
			status, h, body := request(t, "GET", url+"/growing.log")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, content.String(), body)
			require.Contains(t, []string{"", tagOf(body)}, h.Get("Etag"))
		}
	}
	most := 6 + int(time.Since(began)/time.Second) // the first pauses are short
	require.LessOrEqual(t, len(sums(t, app)), most, "%d changes", changes)
	requireTag(t, url+"/growing.log", content.String())
}

func TestAFailedHashIsRemembered(t *testing.T) {
	_, url, _ := site(t, "hash sha256\nrevalidate 1ms")
	require.Eventually(t, func() bool {
		status, h, _ := request(t, "HEAD", url+"/odd/broken.txt")
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, h.Get("Etag"))
		return failedReads.Load() > 0
	}, 5*time.Second, time.Millisecond)
	for range 50 {
		request(t, "HEAD", url+"/odd/broken.txt")
	}
	require.EqualValues(t, 1, failedReads.Load())
}

func TestFingerprintHasWhatChangesTheAnswerForAFile(t *testing.T) {
	t.Parallel()
	plain := (&filesource.Source{Root: "/a", Hide: []string{"x"}}).Fingerprint()
	require.Equal(t, plain, (&filesource.Source{Root: "/b", FS: "other", Index: []string{"y"}}).Fingerprint(),
		"the key says which file it is")
	hashed := (&filesource.Source{Hash: "sha256"}).Fingerprint()
	require.NotEqual(t, plain, hashed)
	require.NotEqual(t, hashed, (&filesource.Source{Hash: "sha256", MaxHashSize: 1}).Fingerprint())
}
