package sitetest_test

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestAnOpenDashboardDoesNotKeepCaddyFromExiting(t *testing.T) {
	s := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	dir := t.TempDir()
	config := filepath.Join(dir, "Caddyfile")
	// Caddy waits for requests that are open, by default without end
	text := strings.Replace(s.Config("", "lookup_dashboard"), "grace_period 2s", "grace_period 1h", 1)
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	cmd := sitetest.Caddy(t, "run", "--config", config)
	cmd.Env = append(cmd.Env, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var resp *http.Response
	require.Eventually(t, func() (ok bool) {
		var err error
		resp, err = client.Get("http://" + s.Page + "/?stream")
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	require.True(t, lines.Scan(), "the page is open")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("Caddy waits for the page")
	}
}
