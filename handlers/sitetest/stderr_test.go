package sitetest_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// closedInUse is what go-redis says where its failover client has closed the
// connections of the old master while one of them was in use. It is the one message
// that the plugin cannot keep it from.
var closedInUse = regexp.MustCompile(`^redis: .* Unexpected conn\[\d+\] state changed by hook to CLOSED, closing it\n$`)

// go-redis has one logger for the process, which all plugins share and which writes to
// standard error. The plugin causes no line of it: only Caddy's log reports the outage.
func TestOnlyCaddysLogReportsAnOutage(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (option string, server *redistest.Server){
		"simple": func(t *testing.T) (string, *redistest.Server) {
			server := redistest.Start(t)
			return "redis " + server.Addr(), server
		},
		"failover": func(t *testing.T) (string, *redistest.Server) {
			s := redistest.StartSentinel(t)
			return "redis " + strings.Join(s.Addrs(), " ") + " {\nmaster_name " + s.MasterName + "\n}", s.Master()
		},
	} {
		t.Run(name, func(t *testing.T) {
			option, server := start(t)
			s := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
			config, err := sitetest.Adapt(s.Config("filewallball {\n"+option+"\n}", gate))
			require.NoError(t, err)
			dir := t.TempDir()
			file := filepath.Join(dir, "config.json")
			require.NoError(t, os.WriteFile(file, config, 0o600))
			cmd := sitetest.Caddy(t, "run", "--config", file)
			cmd.Env = append(cmd.Env, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			require.NoError(t, cmd.Start())

			ask := func() int {
				req, _ := http.NewRequest(http.MethodGet, "http://"+s.Page+"/", nil)
				req.Header.Set("X-Token", "unknown")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return 0
				}
				_ = resp.Body.Close()
				return resp.StatusCode
			}
			enter := func(want int) {
				t.Helper()
				require.Eventually(t, func() bool { return ask() == want }, 20*time.Second, 10*time.Millisecond)
			}
			enter(http.StatusUnauthorized)
			server.Kill()
			enter(http.StatusServiceUnavailable)
			var group sync.WaitGroup
			for range 100 { // many connections that fail at once
				group.Go(func() { ask() })
			}
			group.Wait()
			if name == "simple" {
				server.Restart()
			}
			enter(http.StatusUnauthorized)

			sitetest.Request(t, http.MethodPost, "http://"+s.Admin+"/stop", "")
			require.NoError(t, cmd.Wait())
			http.DefaultClient.CloseIdleConnections()
			for line := range strings.Lines(stderr.String()) {
				failedOver := name == "failover" && closedInUse.MatchString(line)
				require.True(t, strings.HasPrefix(line, "{") || failedOver, "not of Caddy's log: %s", line)
			}
		})
	}
}
