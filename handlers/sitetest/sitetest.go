// Package sitetest runs a real Caddy with a site and its admin API in the
// process of a test. The test imports the modules that the site needs.
//
// One Caddy runs in a process, so tests of a site run one after the other.
package sitetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what a site has beside the modules under test
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// beCaddy in the environment makes a test's executable the caddy command.
const beCaddy = "FILEWALLBALL_TEST_CADDY"

// Caddy is the caddy command in a process of its own: this test's executable,
// whose TestMain is [Main]. It ends with the test.
func Caddy(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	// otherwise the race detector makes each process wait for a second at its end
	cmd.Env = append(os.Environ(), beCaddy+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// Main runs the tests of a package, for its TestMain, and fails if they leave a goroutine.
func Main(m *testing.M) {
	if os.Getenv(beCaddy) != "" {
		caddycmd.Main()
		return
	}
	dir, err := os.MkdirTemp("", "filewallball")
	if err != nil {
		panic(err)
	}
	// the tests write no certificates into the user's directory
	os.Setenv("XDG_DATA_HOME", dir)
	os.Setenv("XDG_CONFIG_HOME", dir)
	goleak.VerifyTestMain(m, redistest.IgnoreLateDials(),
		// Caddy's own, which outlive a configuration
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2.replaceLocalAdminServer.func2"),
		goleak.Cleanup(func(code int) {
			os.RemoveAll(dir)
			os.Exit(code)
		}))
}

// Site is a running Caddy: the addresses of its pages and of its admin API.
type Site struct{ Page, Admin string }

// Serve runs Caddy with these global options and these directives of a site,
// until the test ends.
func Serve(t *testing.T, options, directives string) Site {
	t.Helper()
	s := Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	s.Load(t, options, directives)
	t.Cleanup(func() {
		require.NoError(t, caddy.Stop())
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// Config is the Caddyfile of the site with these options and directives.
func (s Site) Config(options, directives string) string {
	return fmt.Sprintf(`{
		admin %s
		persist_config off
		grace_period 2s
		log {
			output discard
		}
		%s
	}
	http://%s {
		%s
	}`, s.Admin, options, s.Page, directives)
}

// Load replaces the configuration that runs.
func (s Site) Load(t *testing.T, options, directives string) {
	t.Helper()
	config, err := Adapt(s.Config(options, directives))
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
}

// Adapt makes JSON of a Caddyfile.
func Adapt(caddyfile string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// Answer is a response that has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Request sends a request with headers, each a name and a value, and reads
// the answer. It follows no redirects.
func Request(t *testing.T, method, url, body string, headers ...string) Answer {
	t.Helper()
	client := http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// a connection may be that of a configuration which is about to end
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	var resp *http.Response
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		require.NoError(t, err)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		// a connection to a listener that a reload closes is ended before
		// a request on it was read
		resp, err = client.Do(req)
		if ended := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF); !ended || try == 5 {
			require.NoError(t, err)
			break
		}
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return Answer{resp.StatusCode, resp.Header, string(content)}
}

// Get asks for a path of the site.
func (s Site) Get(t *testing.T, path string, headers ...string) Answer {
	t.Helper()
	return Request(t, http.MethodGet, "http://"+s.Page+path, "", headers...)
}

// API sends a request to an endpoint of the plugin's admin API.
func (s Site) API(t *testing.T, method, endpoint, body string) Answer {
	t.Helper()
	return Request(t, method, "http://"+s.Admin+"/filewallball/"+endpoint, body)
}

// Stats are the statistics that tests read.
type Stats struct {
	Store    string
	Hits     int
	Misses   int
	Families map[string]struct{ Hits, Misses, Absent int }
	Routes   map[string]struct {
		Family       string
		Hits, Misses int
	}
	Sources map[string]struct{ Requests, Errors, Coalesced int }
	Pool    *struct{ Size, Total int }
	Redis   *struct{ Version string }
}

// Stats reads the statistics from the admin API.
func (s Site) Stats(t *testing.T) (stats Stats) {
	t.Helper()
	a := s.API(t, http.MethodGet, "stats", "")
	require.Equal(t, http.StatusOK, a.Status)
	require.NoError(t, json.Unmarshal([]byte(a.Body), &stats))
	return stats
}

// Files makes a directory of files, by their names and contents.
func Files(t *testing.T, contents map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range contents {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
	}
	return dir
}
