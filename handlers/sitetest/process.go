// Sites in processes of their own.

package sitetest

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
)

// ServeProcess is [Serve] in a process of its own: another node of a fleet.
func ServeProcess(t *testing.T, options, directives string) Site {
	t.Helper()
	dir := t.TempDir()
	s := Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	config := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(config, []byte(s.Config(options, directives)), 0o600))
	cmd := Caddy(t, "run", "--config", config)
	cmd.Env = append(cmd.Env, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	log := new(Output)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("log of the process at %s:\n%s", s.Page, log.End())
		}
	})
	s.await(t, log)
	return s
}

// await waits until the admin API and the site answer.
func (s Site) await(t *testing.T, log *Output) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool {
		resp, err := client.Get("http://" + s.Admin + "/filewallball/health/live")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		resp, err = client.Get("http://" + s.Page + "/")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return true
	}, time.Minute, 10*time.Millisecond, "%s", log)
}

// Reload gives the site another configuration by the admin API.
func (s Site) Reload(t *testing.T, options, directives string) {
	t.Helper()
	a := Request(t, http.MethodPost, "http://"+s.Admin+"/load", s.Config(options, directives), "Content-Type", "text/caddyfile")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
}
