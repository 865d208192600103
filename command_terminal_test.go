// The command line where somebody sits at a terminal, which here is a
// pseudo-terminal.

package filewallball

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// terminal is a running command with somebody before it.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	keys   *os.File
	screen *lockedBuffer
	read   chan struct{} // closed when all was read
}

func (s site) atTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	cmd := s.caddyCommand(t, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	keys, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	require.NoError(t, err)
	term := &terminal{t, cmd, keys, new(lockedBuffer), make(chan struct{})}
	go func() {
		defer close(term.read)
		_, _ = io.Copy(term.screen, keys) // ends with an error when the command does
	}()
	t.Cleanup(func() { _ = keys.Close() })
	return term
}

// answer types something after the question is asked.
func (term *terminal) answer(question, keys string) {
	term.t.Helper()
	require.Eventually(term.t, func() bool {
		return bytes.Contains([]byte(term.screen.String()), []byte(question))
	}, 10*time.Second, time.Millisecond, "%s", term.screen)
	_, err := io.WriteString(term.keys, keys)
	require.NoError(term.t, err)
}

// end waits for the command, and gives its status and what it has shown.
func (term *terminal) end() (status int, screen string) {
	term.t.Helper()
	_ = term.cmd.Wait()
	<-term.read
	return term.cmd.ProcessState.ExitCode(), term.screen.String()
}

func TestCommandAsksBeforeItDropsAPrefix(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	const question = `This drops every record whose key begins with "session:", on every node. Go on? [y/N] `
	s.good(t, "set", "session:user:a", "{}")
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
		require.Equal(t, "{}\n", s.command(t, "get", "session:user:a").out, name)
	}
	term := s.atTerminal(t, "purge", "--prefix", "session:")
	term.answer(question, "yes\n")
	status, screen := term.end()
	require.Zero(t, status, screen)
	require.Contains(t, screen, "dropped 1 record")
	require.Equal(t, 1, s.command(t, "get", "session:user:a").status)
}

func TestCommandLaysRecordsOutOnATerminalThatTheyCannotSteer(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	record := "{\"name\":\"\u009b31m\u202e\u007fx\", \"tags\":[1,2]}"
	require.NoError(t, server.Client().Set(t.Context(), "k", record, 90*time.Minute).Err())
	require.Equal(t, record+"\n", s.command(t, "get", "k").out, "to the byte for a program")

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
	require.Equal(t, 1, s.command(t, "get", "session:user:a").status)

	term = s.atTerminal(t, "set", "session:user:a")
	term.answer(hint, "{\"a\":\n1}\n\x04")
	status, screen = term.end()
	require.Zero(t, status, screen)
	require.Equal(t, "{\"a\":\n1}\n", s.command(t, "get", "session:user:a").out)
}

func TestCommandWatchesStatsOnATerminal(t *testing.T) {
	s := serve(t, "filewallball", "session_lookup {header.X-Token}\nrespond hi")
	term := s.atTerminal(t, "stats", "--watch", "1ms")
	require.Equal(t, http.StatusUnauthorized, s.get(t, "/", "X-Token", "a").Status)
	term.answer("1: 0 hits, 1 misses", "\x03")
	status, screen := term.end()
	require.Zero(t, status)
	require.Contains(t, screen, "\x1b[H\x1b[2J")
}
