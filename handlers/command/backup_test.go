// The commands of long jobs: warm, backup, restore, bench.

package command_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// recordsOf has each key of a prefix with its record.
func recordsOf(t *testing.T, client *redis.Client, prefix string) map[string]string {
	t.Helper()
	records := make(map[string]string)
	keys, err := client.Keys(t.Context(), prefix+"*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		records[key] = client.Get(t.Context(), key).Val()
	}
	return records
}

func fill(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	pipe := client.Pipeline()
	for i := range n {
		pipe.Set(t.Context(), fmt.Sprint("file:meta:", i), fmt.Sprintf(`{ "n":%d, "name":"문서 <%d>"}`, i, i), time.Duration(i+60)*time.Second)
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
}

func TestCommandBackupIsRestoredToTheByte(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	const n = 2000
	fill(t, client, n)
	require.NoError(t, client.Set(t.Context(), "session:user:a", `{}`, time.Hour).Err())
	before := recordsOf(t, client, "file:meta:")
	require.Len(t, before, n)

	for _, name := range []string{"cache.ndjson", "cache.ndjson.gz"} {
		file := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(file, []byte("an older backup"), 0o644))
		r := s.command(t, "backup", "--prefix", "file:", "-o", file)
		require.Zero(t, r.status, r.err)
		require.Empty(t, r.out)
		require.Regexp(t, `^saved 2,000 records, \d+ KiB\n$`, r.err)
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		require.Equal(t, []string{name}, namesIn(t, filepath.Dir(file)))

		require.NoError(t, client.FlushDB(t.Context()).Err())
		require.Equal(t, "restored 2,000 records: kept 0 that existed, left out 0 that have expired, 0 failed\n",
			s.good(t, "restore", file, "--yes"))
		require.Equal(t, before, recordsOf(t, client, ""))
		require.InDelta(t, 1000*time.Second, client.TTL(t.Context(), "file:meta:940").Val(), float64(30*time.Second))
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestCommandBackupGoesThroughPipes(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	fill(t, client, 3)
	r := s.command(t, "backup")
	require.Zero(t, r.status, r.err)
	require.Equal(t, 3, strings.Count(r.out, "\n"))
	require.Contains(t, r.err, "saved 3 records, ")

	require.NoError(t, client.Set(t.Context(), "file:meta:0", `{"newer": true}`, time.Hour).Err())
	require.NoError(t, client.Del(t.Context(), "file:meta:1").Err())
	restore := func(args ...string) ran {
		return s.commandReading(t, r.out, append([]string{"restore", "-", "--yes"}, args...)...)
	}
	require.Equal(t, ran{0, "restored 1 record: kept 2 that existed, left out 0 that have expired, 0 failed\n", ""}, restore())
	require.Equal(t, `{"newer": true}`, client.Get(t.Context(), "file:meta:0").Val())
	overwritten := restore("--overwrite", "--json")
	require.Zero(t, overwritten.status, overwritten.err)
	require.Equal(t, "3", string(field(t, overwritten.out, "restored")))
	require.NotEqual(t, `{"newer": true}`, client.Get(t.Context(), "file:meta:0").Val())
}

func TestCommandBackupRefusesForeignPrefixes(t *testing.T) {
	s := serve(t, "filewallball {\nkey_prefix app:\n}", "respond hi")
	s.good(t, "set", "app:file:meta:a", "{}")
	r := s.command(t, "backup", "--prefix", "app:file:")
	require.Contains(t, r.err, "saved 1 record, ")
	r = s.command(t, "backup", "--prefix", "file:")
	require.Equal(t, ran{1, "", "Error: prefix does not begin with key_prefix: want one that begins with \"app:\"\n"}, r)
}

func TestCommandRestoreNamesBadLinesAndFails(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	file := filepath.Join(t.TempDir(), "hand-made")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join([]string{
		`{"key": "file:meta:a", "ttl_ms": 60000, "value": {"a": 1}}`,
		`{"key": "file:meta:b", "ttl_ms": 60000, "value": [1]}`,
		`no JSON`,
		`{"key": "file:meta:c", "ttl_ms": 60000, "value": {"c": 1}}`,
		`{"key": "file:meta:d", "ttl_ms": 60000, "expires_at": 1000, "value": {}}`,
	}, "\n")), 0o600))
	r := s.command(t, "restore", "--yes", file)
	require.Equal(t, 1, r.status)
	require.Equal(t, "restored 2 records: kept 0 that existed, left out 1 that have expired, 2 failed\n", r.out)
	require.Regexp(t, "^line 2: .+\nline 3: .+\nError: 2 lines could not be restored\n$", r.err)
	require.Equal(t, "{\"c\": 1}\n", s.command(t, "get", "file:meta:c").out)

	r = s.command(t, "restore", "--yes", file+".none")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "no such file")
	require.NoError(t, os.Rename(file, file+".gz"))
	r = s.command(t, "restore", "--yes", file+".gz")
	require.Equal(t, ran{1, "", "Error: reading the backup: gzip: invalid header\n"}, r)
}

func TestCommandRestoreOfADamagedFileFails(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	for i := range 200 {
		require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, fmt.Sprint("keys/file:meta:", i), `{}`).Status)
	}
	file := filepath.Join(t.TempDir(), "cache.gz")
	require.Zero(t, s.command(t, "backup", "-o", file).status)
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, whole[:len(whole)-10], 0o600))
	r := s.command(t, "restore", "--yes", file)
	require.Equal(t, 1, r.status)
	require.Empty(t, r.out)
	require.Contains(t, r.err, "unexpected EOF")
	require.Regexp(t, "^Error: reading the backup: it is cut short .*; the records before it are restored", r.err, "it is not Caddy's fault")
}

func TestCommandBackupThatFailsLeavesTheOlderFile(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	file := filepath.Join(t.TempDir(), "cache.ndjson")
	require.NoError(t, os.WriteFile(file, []byte("older"), 0o600))
	older := func() {
		t.Helper()
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "older", string(content))
		require.Equal(t, []string{"cache.ndjson"}, namesIn(t, filepath.Dir(file)))
	}
	server.Pause()
	cmd := s.commandProcess(t, "backup", "-o", file)
	stderr := new(sitetest.Output)
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return len(namesIn(t, filepath.Dir(file))) == 2 }, 10*time.Second, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Equal(t, "Error: interrupted\n", stderr.String())
	older()

	server.Continue()
	server.Kill()
	r := s.command(t, "backup", "-o", file)
	require.Equal(t, ran{1, "", "Error: the store is unavailable: the log says why\n"}, r)
	older()
	r = s.command(t, "backup", "-o", filepath.Join(file, "below"))
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "not a directory")
}

func TestCommandRestoreReportsTheLineWhereTheStoreFailed(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	cmd := s.commandProcess(t, "restore", "-", "--yes")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, stderr := new(sitetest.Output), new(sitetest.Output)
	cmd.Stdout, cmd.Stderr = out, stderr
	require.NoError(t, cmd.Start())
	line := func(i int) {
		_, _ = fmt.Fprintf(in, `{"key": "file:meta:%d", "ttl_ms": 60000, "value": {}}`+"\n", i)
	}
	for i := range 1000 {
		line(i)
	}
	require.Eventually(t, func() bool { return len(server.Client().Keys(t.Context(), "file:*").Val()) == 1000 }, 10*time.Second, time.Millisecond)
	server.Kill()
	for i := range 600 {
		line(1000 + i)
	}
	require.NoError(t, in.Close())
	require.Error(t, cmd.Wait())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	// whatever the server had not confirmed may have to be done again
	if strings.HasPrefix(out.String(), "restored 500 records") {
		require.Contains(t, stderr.String(), "stopped before line 501")
	} else {
		require.Contains(t, out.String(), "restored 1,000 records")
		require.Contains(t, stderr.String(), "stopped before line 1001")
	}
}

// slowSource answers once it is let go.
func slowSource(t *testing.T) (url string, letGo func()) {
	t.Helper()
	gate := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		if strings.HasSuffix(r.URL.Path, "none") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, `{"name": "x"}`)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() { close(gate) }
}

func warmable(url string) string {
	return "file_metadata {header.X-File} {\nname downloads\nsource http " + url + "/{id} {\ntimeout 1m\n}\n}\nrespond hi"
}

func TestCommandWarmsTheGivenIdentities(t *testing.T) {
	url, letGo := slowSource(t)
	s := serve(t, "filewallball", warmable(url))
	ids := filepath.Join(t.TempDir(), "ids")
	require.NoError(t, os.WriteFile(ids, []byte("a\r\n\nb\nnone\n"), 0o600))

	cmd := s.commandProcess(t, "warm", "downloads", "--ids-file", ids, "--concurrency", "2")
	out, stderr := new(sitetest.Output), new(sitetest.Output)
	cmd.Stdout, cmd.Stderr = out, stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(stderr.String(), "warming: 0 of 3\n") }, 10*time.Second, time.Millisecond)
	letGo()
	require.NoError(t, cmd.Wait())
	require.Regexp(t, `^warmed 3: 2 loaded, 0 present, 1 absent, 0 denied, 0 failed; \d+ a second\n$`, out.String())
	require.Contains(t, s.command(t, "get", "file:meta:b").out, `"x"`)

	r := s.commandReading(t, "b\nc", "warm", "downloads", "--ids-file", "-", "--json")
	require.Zero(t, r.status, r.err)
	require.Empty(t, r.err)
	require.Equal(t, "1", string(field(t, r.out, "present")))
	require.Equal(t, "true", string(field(t, r.out, "finished")))

	r = s.command(t, "warm", "downloads", "d", "ctrl\x1b")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.out, "warmed 2: 1 loaded, ")
	require.Contains(t, r.err, `ctrl\x1b: `)
	require.Contains(t, r.err, "Error: warming the cache: 1 of 2 failed\n")

	r = s.command(t, "warm", "uploads", "a")
	require.Equal(t, ran{1, "", "Error: there is no such route: want one of downloads\n"}, r)
	r = s.command(t, "warm", "downloads")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "source http cannot list its identities")
}

func TestCommandWarmsAllFiles(t *testing.T) {
	dir := sitetest.Files(t, map[string]string{"a.txt": "a", "sub/b.txt": "b"})
	s := serve(t, "filewallball", "root "+dir+"\nfile_metadata {\nname files\nsource file_system\n}\nfile_server")
	r := s.command(t, "warm", "files", "--root", dir)
	require.Zero(t, r.status, r.err)
	require.Contains(t, r.out, "2 loaded")
	r = s.command(t, "warm", "files", "--root", dir)
	require.Contains(t, r.out, "2 present")
}

func TestCommandBenchPrintsItsMeasurements(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	out := lines(s.good(t, "bench", "--count", "200", "--size", "100", "--batch", "50", "--concurrency", "4"))
	require.Equal(t, "redis: 200 records of 100 B", out[0])
	number := `\d[\d,]*`
	for _, want := range []string{"1 set 200", "1 get 200", "1 set 50 4", "1 get 50 4", "4 set 200", "4 get 200", "4 set 50 4", "4 get 50 4"} {
		want := regexp.MustCompile("^" + want + " " + number + strings.Repeat(` \d+\.\d\d ms`, 3) + " 0$")
		require.True(t, slices.ContainsFunc(out, want.MatchString), "%s\n%s", want, strings.Join(out, "\n"))
	}
	require.Contains(t, out, "pool that lookups use, without near copies and without the admin API's own cost.")

	var machine struct {
		Sequential struct{ Get struct{ Operations int } }
	}
	require.NoError(t, json.Unmarshal([]byte(s.good(t, "bench", "--count", "10", "--json")), &machine))
	require.Equal(t, 10, machine.Sequential.Get.Operations)
	require.Empty(t, recordsOf(t, server.Client(), ""), "nothing is left")

	server.Kill()
	r := s.command(t, "bench")
	require.Equal(t, ran{1, "", "Error: the store is unavailable: the log says why\n"}, r)
}

func TestCommandReportsOnceThatAFileIsNoBackup(t *testing.T) {
	s := serve(t, "filewallball {\nredis "+redistest.Start(t).Addr()+"\nkey_prefix app:\n}", "respond hi")
	for text, why := range map[string]string{
		strings.Repeat("Dear diary\n", 500): "line is not a JSON object",
		"\x1f\x8b\x08\x00\x00":              "line is not a JSON object",
		strings.Repeat(`{"key": "other:a", "ttl_ms": 60000, "value": {}}`+"\n", 150): "key does not begin with key_prefix",
		strings.Repeat(`{"user": "ada"}`+"\n", 150):                                  "",
		"\n\n[1]\n": "line is not a JSON object",
	} {
		file := filepath.Join(t.TempDir(), "diary.txt")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		r := s.command(t, "restore", "--yes", file)
		require.Equal(t, 1, r.status)
		require.Empty(t, r.out)
		require.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
		require.Contains(t, r.err, "Error: "+file+" is not a backup of this cache: none of its lines can be restored (line ")
		require.Contains(t, r.err, why)
		require.Contains(t, s.commandReading(t, text, "restore", "-", "--yes").err, "Error: standard input is not a backup")
	}
}
