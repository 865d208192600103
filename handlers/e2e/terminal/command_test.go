package terminal

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestCommandAsksBeforeItDropsAPrefix(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	const question = `This drops every record whose key begins with "session:", on every node. Go on? [y/N] `
	s.store(t, "session:user:a", "{}")
	for name, c := range map[string]struct {
		keys, says string
		status     int
	}{
		"no":      {"n\n", "nothing was changed", 1},
		"nothing": {"\n", "nothing was changed", 1},
		"the end": {"\x04", "nothing was changed", 1},
		"Ctrl-C":  {"\x03", "interrupted", 1},
	} {
		term := s.atTerminal(t, "purge", "--prefix", "session:")
		term.answer(question, c.keys)
		status, screen := term.end()
		require.Equal(t, c.status, status, name)
		require.Contains(t, screen, c.says, name)
		require.Equal(t, "{}\n", s.read(t, "session:user:a"), name)
	}
	term := s.atTerminal(t, "purge", "--prefix", "session:")
	term.answer(question, "yes\n")
	status, screen := term.end()
	require.Zero(t, status, screen)
	require.Contains(t, screen, "dropped 1 record")
	require.False(t, s.isStored(t, "session:user:a"))
}

func TestCommandEscapesControlCharactersOnATerminal(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	record := "{\"name\":\"\u009b31m\u202e\u007fx\", \"tags\":[1,2]}"
	require.NoError(t, server.Client().Set(t.Context(), "k", record, 90*time.Minute).Err())
	require.Equal(t, record+"\n", s.read(t, "k"), "to the byte for a program")

	status, screen := s.atTerminal(t, "get", "k").end()
	require.Zero(t, status)
	require.Regexp(t, "^{\r\n  \"name\": \"\\\\u009b31m\\\\u202e\\\\u007fx\",\r\n  \"tags\": \\[\r\n    1,\r\n    2\r\n  ]\r\n}\r\nexpires in 1h (30|29)m\r\n$", screen)
	_, screen = s.atTerminal(t, "get", "k", "--json").end()
	require.Contains(t, screen, `"value":{"name":"\u009b31m\u202e\u007fx", "tags":[1,2]}}`)
	_, screen = s.atTerminal(t, "get", "\x1b]0;title\x07").end()
	require.NotContains(t, screen, "\x1b")
}

func TestCommandReadsFromATerminal(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	const hint = "Type the record, and Ctrl-D on a line of its own at the end."
	term := s.atTerminal(t, "set", "session:user:a")
	term.answer(hint, "{\"a\":\x03")
	status, screen := term.end()
	require.Equal(t, 1, status)
	require.Contains(t, screen, "Error: interrupted")
	require.False(t, s.isStored(t, "session:user:a"))

	term = s.atTerminal(t, "set", "session:user:a")
	term.answer(hint, "{\"a\":\n1}\n\x04")
	status, screen = term.end()
	require.Zero(t, status, screen)
	require.Equal(t, "{\"a\":\n1}\n", s.read(t, "session:user:a"))
}

func TestCommandWatchesStatsOnATerminal(t *testing.T) {
	s := serve(t, "filewallball", "session_lookup {header.X-Token}\nrespond hi")
	term := s.atTerminal(t, "stats", "--watch", "100ms")
	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "a").Status)
	term.answer("1: 0 hits, 1 misses", "\x03")
	status, screen := term.end()
	require.Zero(t, status)
	require.Contains(t, screen, "\x1b[H\x1b[2J")
}

// slowSource answers after letGo is called.
func slowSource(t *testing.T) (url string, letGo func()) {
	t.Helper()
	gate := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, `{"name": "x"}`)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() { close(gate) }
}

func TestCommandShowsABarOnATerminal(t *testing.T) {
	url, letGo := slowSource(t)
	s := serve(t, "filewallball", "file_metadata {header.X-File} {\nname downloads\nsource http "+url+"/{id} {\ntimeout 1m\n}\n}\nrespond hi")
	term := s.atTerminal(t, "warm", "downloads", "a", "b")
	term.answer("(0/2", "") // of the bar
	letGo()
	status, screen := term.end()
	require.Zero(t, status, screen)
	require.Contains(t, screen, "warming")
	require.NotContains(t, screen, "warming: ", "lines are for logs")
	require.Contains(t, screen, "warmed 2: 2 loaded")
}

func TestCommandPrintsNoBackupOnATerminalUnlessAsked(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	s.store(t, "session:user:a", "{\"a\":\"\u009b\"}")
	status, screen := s.atTerminal(t, "backup").end()
	require.Equal(t, 2, status)
	require.Contains(t, screen, "want -o <file>")
	status, screen = s.atTerminal(t, "backup", "-o", "-").end()
	require.Zero(t, status)
	require.Contains(t, screen, `"value":{"a":"\u009b"}`)
	status, screen = s.atTerminal(t, "backup", "-o", filepath.Join(t.TempDir(), "cache.ndjson")).end()
	require.Zero(t, status)
	require.Regexp(t, `^\r.*saving.*\rsaved 1 record, \d+ B\r\n$`, screen)
}

func TestCommandAsksBeforeItRestores(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	file := filepath.Join(t.TempDir(), "backup.gz")
	zipped := new(strings.Builder)
	w := gzip.NewWriter(zipped)
	_, err := io.WriteString(w, `{"key": "file:meta:a", "ttl_ms": 60000, "value": {}}`)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(file, []byte(zipped.String()), 0o600))
	question := "into the cache of the Caddy at " + s.Admin + ", and replaces those that exist. Go on? [y/N] "

	term := s.atTerminal(t, "restore", "--overwrite", file)
	term.answer(question, "n\n")
	status, screen := term.end()
	require.Equal(t, 1, status)
	require.Contains(t, screen, "nothing was changed")
	require.False(t, s.isStored(t, "file:meta:a"))

	term = s.atTerminal(t, "restore", "--overwrite", file)
	term.answer(question, "y\n")
	status, screen = term.end()
	require.Zero(t, status, screen)
	require.Contains(t, screen, "restored 1 record")
	require.True(t, s.isStored(t, "file:meta:a"))
}
