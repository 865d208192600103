// The shell blocks of the docs, run as a reader would run them.
package docs_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// executable is what makes a shell block one that is run.
var executable = regexp.MustCompile(`(?m)\b(curl|redis-cli|caddy filewallball) `)

// Each shell block runs against the Caddyfile before it on its page, or
// against example.Caddyfile where there is none. Blocks that share a Caddyfile
// share the Caddy and the Redis.
func TestShellBlocksOfTheDocsDoWhatTheySay(t *testing.T) {
	for _, page := range pages(t) {
		var caddyfile string
		var scripts []block
		run := func() {
			if len(scripts) > 0 {
				t.Run(scripts[0].name(), func(t *testing.T) { runScripts(t, caddyfile, scripts) })
				scripts = nil
			}
		}
		for _, b := range blocks(t, page) {
			switch {
			case b.language == "caddyfile":
				run()
				caddyfile = b.text
			case b.language == "sh" && executable.MatchString(b.text):
				scripts = append(scripts, b)
			}
		}
		run()
	}
}

func runScripts(t *testing.T, caddyfile string, scripts []block) {
	p := newPlace(t)
	if strings.Contains(caddyfile, "redis") {
		p.redis = redistest.Start(t)
		t.Setenv("REDIS_URL", "redis://"+p.redis.Addr())
	}
	p.application = startApplication(t)
	p.serve(t, caddyfile)
	environment := p.environment(t)
	for _, b := range scripts {
		for _, command := range commands(b.text) {
			p.run(t, b, command, environment)
		}
	}
}

// commands are the commands of a script, with the lines of each joined.
func commands(script string) (found []string) {
	pending := ""
	for _, line := range strings.Split(script, "\n") {
		if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if head, ok := strings.CutSuffix(line, "\\"); ok {
			pending += head
			continue
		}
		found, pending = append(found, pending+line), ""
	}
	return found
}

var (
	wantedStatus = regexp.MustCompile(`\s# (\d{3})\b`)
	wantedExit   = regexp.MustCompile(`\s# exit (\d+)\b`)
	gotStatus    = regexp.MustCompile(`status=(\d{3})\n`)
)

// run executes one command. The status of a curl is what its comment says, 2xx
// without one. What follows a write by another client may take some
// milliseconds to be seen, so a curl is repeated until its status is right.
func (p place) run(t *testing.T, b block, command string, environment []string) {
	t.Helper()
	want := "2"
	if m := wantedStatus.FindStringSubmatch(command); m != nil {
		want = m[1]
	}
	exit := "0"
	if m := wantedExit.FindStringSubmatch(command); m != nil {
		exit = m[1]
	}
	problem := ""
	attempt := func() bool {
		cmd := exec.CommandContext(t.Context(), "/bin/bash", "-c", p.replace(command))
		cmd.Env, cmd.Dir = environment, p.dir
		out, _ := cmd.CombinedOutput()
		problem = ""
		for _, status := range gotStatus.FindAllStringSubmatch(string(out), -1) {
			if !strings.HasPrefix(status[1], want) {
				problem = fmt.Sprintf("%s: %s\nstatus %s, want %s\n%s", b.name(), command, status[1], want, out)
			}
		}
		if got := fmt.Sprint(cmd.ProcessState.ExitCode()); got != exit {
			problem = fmt.Sprintf("%s: %s\nexit status %s, want %s\n%s", b.name(), command, got, exit, out)
		}
		return problem == ""
	}
	if strings.HasPrefix(command, "curl ") {
		deadline := time.Now().Add(5 * time.Second)
		for again := true; again; {
			again = !attempt() && time.Now().Before(deadline)
		}
	} else {
		attempt()
	}
	require.Empty(t, problem)
}

// environment is one in which curl, redis-cli and caddy lead to this place.
func (p place) environment(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	bin := filepath.Join(p.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o700))
	shim := func(name, script string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	}
	path := func(name string) string {
		found, err := exec.LookPath(name)
		require.NoError(t, err, "install it: .ci/install curl redis-server")
		return found
	}
	shim("curl", fmt.Sprintf(`exec %s -sS -w '%%{stderr}\nstatus=%%{http_code}\n' --connect-to localhost:2019:%s --connect-to ::%s "$@"`,
		path("curl"), p.admin, p.site))
	if p.redis != nil {
		_, port, err := net.SplitHostPort(p.redis.Addr())
		require.NoError(t, err)
		shim("redis-cli", fmt.Sprintf(`exec %s -p %s "$@"`, path("redis-cli"), port))
	}
	caddy := sitetest.Caddy(t)
	shim("caddy", "exec '"+self+`' "$@"`)
	return append(caddy.Env, "PATH="+bin+":"+os.Getenv("PATH"), "CADDY_ADMIN="+p.admin)
}

// startApplication runs the application of the recipes and returns its
// address. It knows the session s3cret of user 42 and one file.
func startApplication(t *testing.T) (address string) {
	t.Helper()
	session := func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("session"); err != nil || c.Value != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Remote-User", "ada")
		w.Header().Set("Remote-Groups", "users")
		answer(w, map[string]any{"user_id": 42, "permissions": []string{"read", "write"}})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /session", session)
	mux.HandleFunc("GET /internal/session", session)
	mux.HandleFunc("GET /api/verify", session)
	mux.HandleFunc("GET /internal/files/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "0b6a2f0e-7c1d-4e0b-9f63-2a4b8c5d6e7f" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answer(w, map[string]any{"name": "thesis.pdf", "path": "ab/cd/1234.bin", "size": len("a thesis"), "sha256": strings.Repeat("0", 64)})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s\n", r.Header.Get("X-User-Id")) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func answer(w http.ResponseWriter, object map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}
