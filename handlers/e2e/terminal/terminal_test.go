// Package terminal tests the command line at a terminal, here a
// pseudo-terminal.
package terminal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }

// site is a running Caddy.
type site struct{ sitetest.Site }

func serve(t *testing.T, options, directives string) site {
	t.Helper()
	return site{sitetest.Serve(t, options, directives)}
}

// caddy returns the command `caddy filewallball …` for the Caddy of this site.
func (s site) caddy(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return sitetest.Caddy(t, append([]string{"filewallball", "--address", s.Admin}, args...)...)
}

// piped runs a command without a terminal and returns its status and output.
func (s site) piped(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	cmd := s.caddy(t, args...)
	text, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// store stores a record.
func (s site) store(t *testing.T, key, record string) {
	t.Helper()
	status, out := s.piped(t, "set", key, record)
	require.Zero(t, status, out)
}

// isStored reports whether there is a record of this key.
func (s site) isStored(t *testing.T, key string) bool {
	t.Helper()
	status, _ := s.piped(t, "get", key)
	return status == 0
}

// read returns the text of a record.
func (s site) read(t *testing.T, key string) string {
	t.Helper()
	status, out := s.piped(t, "get", key)
	require.Zero(t, status)
	return out
}

// terminal is a running command at a pseudo-terminal.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	keys   *os.File
	screen *sitetest.Output
	read   chan struct{} // closed when all was read
}

func (s site) atTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	cmd := s.caddy(t, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	keys, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	require.NoError(t, err)
	term := &terminal{t, cmd, keys, new(sitetest.Output), make(chan struct{})}
	go func() {
		defer close(term.read)
		_, _ = io.Copy(term.screen, keys) // ends with an error when the command does
	}()
	t.Cleanup(func() { _ = keys.Close() })
	return term
}

// answer types keys as soon as the screen shows the question.
func (term *terminal) answer(question, keys string) {
	term.t.Helper()
	require.Eventually(term.t, func() bool {
		return bytes.Contains([]byte(term.screen.String()), []byte(question))
	}, 10*time.Second, time.Millisecond, "%s", term.screen)
	_, err := io.WriteString(term.keys, keys)
	require.NoError(term.t, err)
}

// end waits for the command and returns its status and the screen.
func (term *terminal) end() (status int, text string) {
	term.t.Helper()
	_ = term.cmd.Wait()
	<-term.read
	return term.cmd.ProcessState.ExitCode(), term.screen.String()
}
