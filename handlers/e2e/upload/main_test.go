// Package upload tests uploads as a user meets them: over real connections, on
// two nodes, with a real Redis, over HTTP/3 and in a real browser.
package upload

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }

// site is a running Caddy that takes uploads.
type site struct{ sitetest.Site }

func serve(t *testing.T, options, directives string) site {
	t.Helper()
	t.Cleanup(func() { // after Caddy has stopped
		require.Eventually(t, func() bool { return !isPublishing() }, 10*time.Second, 10*time.Millisecond)
	})
	return site{sitetest.Serve(t, options, directives)}
}

// isPublishing reports whether an upload still waits to write its final record,
// which takes up to some seconds after Redis was unreachable.
func isPublishing() bool {
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
	return strings.Contains(stacks.String(), "(*publisher).run")
}

// startNode runs another node, a Caddy in a process of its own, until the test
// ends or kill is called.
func startNode(t *testing.T, options, directives string) (node site, kill func()) {
	t.Helper()
	node.Site = sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	// a node that shuts down waits for its requests
	config, err := sitetest.Adapt(strings.Replace(node.Config(options, directives), "grace_period 2s", "grace_period 1h", 1))
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(file, config, 0o600))
	cmd := sitetest.Caddy(t, "run", "--config", file)
	cmd.Env = append(cmd.Env, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir) // killed, it leaves locks
	require.NoError(t, cmd.Start())
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", node.Page)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	return node, kill
}

// put sends a whole upload.
func (s site) put(t *testing.T, id, body string, headers ...string) (status int) {
	t.Helper()
	return sitetest.Request(t, http.MethodPut, "http://"+s.Page+"/upload/"+id, body, headers...).Status
}
