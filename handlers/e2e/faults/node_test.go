package faults

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// node is a Caddy with the plugin, behind a network of its own.
type node struct {
	page, admin string
	proxy       *proxy // nil where the node finds its servers by itself
	cmd         *exec.Cmd
	ended       chan struct{} // closed when the process has ended
	log         *output
	client      *http.Client
	// files is how many file descriptors the process may have; 0: as many as
	// this one.
	files int
	// pauses counts how often the process was stopped or went on: what was
	// measured meanwhile says nothing of the machine.
	pauses atomic.Int64
}

// output collects the output of a process.
type output struct {
	mu   sync.Mutex
	text []byte
}

// Write implements [io.Writer].
func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, text...)
	return len(text), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// end returns the last bytes of it.
func (o *output) end() string {
	text := o.String()
	return text[max(0, len(text)-4<<10):]
}

// caddyfile is the configuration of a node.
func (n *node) caddyfile(options, routes string) string {
	return `{
	admin ` + n.admin + `
	persist_config off
	auto_https off
	default_bind 127.0.0.1
	grace_period 2s
	log {
		level WARN
	}
` + options + `
}
http://` + n.page + ` {
	respond /control 204
` + routes + `
}
`
}

// start runs a Caddy; see await.
func (n *node) start(t *testing.T, options, routes string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(config, []byte(n.caddyfile(options, routes)), 0o600))
	n.log = new(output)
	n.cmd = exec.Command(caddyPath, "run", "--config", config)
	if n.files > 0 {
		limited := []string{"-c", `ulimit -n "$0" && exec "$@"`, itoa(n.files)}
		n.cmd = exec.Command("/bin/sh", append(limited, n.cmd.Args...)...)
	}
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	n.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "GOMAXPROCS=2")
	require.NoError(t, n.cmd.Start())
	ended := make(chan struct{})
	cmd := n.cmd
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	n.ended = ended
	n.client = &http.Client{
		Timeout:       15 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		n.client.CloseIdleConnections()
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		n.resume()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = n.cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("log of the node at %s:\n%s", n.page, n.log.end())
		}
	})
}

// crash ends the process at once, as kill -9 does.
func (n *node) crash() {
	_ = n.cmd.Process.Kill()
	<-n.ended
}

// await waits until the Caddy answers.
func (n *node) await(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		resp, err := n.client.Get("http://" + n.page + "/control")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusNoContent
	}, time.Minute, 10*time.Millisecond, "%s", n.log)
}

// reload gives the node another configuration.
func (n *node) reload(t *testing.T, options, routes string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+n.admin+"/load", strings.NewReader(n.caddyfile(options, routes)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "text/caddyfile")
	resp, err := n.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
}

// answer is a response.
type answer struct {
	status int
	near   bool // a near copy answered
	body   string
}

// send sends a request with a session.
func (n *node) send(method, path, session, body string) (answer, error) {
	return n.sendWritten(method, path, session, body, func() {})
}

// sendWritten calls written once the request is on its way, or has failed. It
// tries again if a reload closes the listener before the server has read from
// the connection, which Caddy itself may do.
func (n *node) sendWritten(method, path, session, body string, written func()) (got answer, err error) {
	defer written()
	for range 5 {
		got, err = n.sendOnce(method, path, session, body, written)
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
	}
	return got, err
}

func (n *node) sendOnce(method, path, session, body string, written func()) (answer, error) {
	req, err := http.NewRequest(method, "http://"+n.page+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if session != "" {
		req.AddCookie(&http.Cookie{Name: "session", Value: session})
	}
	resp, err := n.client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { written() },
	})))
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	near := strings.Contains(resp.Header.Get("Cache-Status"), "detail=near")
	return answer{resp.StatusCode, near, string(text)}, nil
}

// api sends a request to the plugin's admin API.
func (n *node) api(t *testing.T, method, endpoint, body string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+n.admin+"/filewallball/"+endpoint, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := n.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{status: resp.StatusCode, body: string(text)}
}
