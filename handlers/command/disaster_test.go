package command_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// The recipe of docs/recipes.md for the loss of Redis, as it stands there, with what it
// says that users see.
func TestDisasterRecipe(t *testing.T) {
	dir := sitetest.Files(t, map[string]string{"known.txt": "known", "other.txt": "other"})
	app := sitetest.NewApplication(t)
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\nlookup_timeout 200ms\n}", `
		root `+dir+`
		handle /own {
			session_lookup {header.X-Token}
			respond ok
		}
		handle /asked {
			session_lookup {header.X-Token} {
				key asked:{id}
				source http `+app.URL+`
			}
			respond ok
		}
		handle {
			file_metadata {
				name files
				source file_system
			}
			file_server
		}`)
	own := func() int { return s.Get(t, "/own", "X-Token", "ada1").Status }
	asked := func() int { return s.Get(t, "/asked", "X-Token", "ada1").Status }
	file := func(name string) string {
		a := s.Get(t, "/"+name)
		require.Equal(t, http.StatusOK, a.Status)
		return a.Header.Get("Cache-Status")
	}
	becomes := func(status int, request func() int) {
		t.Helper()
		require.Eventually(t, func() bool { return request() == status }, 10*time.Second, 10*time.Millisecond)
	}
	before, after := disasterCommands(t, dir)

	require.NoError(t, server.Client().Set(t.Context(), "session:user:ada1", `{"user_id": "ada"}`, time.Hour).Err())
	require.Equal(t, http.StatusOK, own())
	require.Equal(t, http.StatusOK, asked())
	require.Contains(t, file("known.txt"), "stored")
	s.shell(t, before)

	server.Kill()
	becomes(http.StatusServiceUnavailable, own)
	require.Equal(t, http.StatusOK, asked())
	file("known.txt")
	file("other.txt")

	server.Restart()
	for key := range recordsOf(t, server.Client(), "") {
		require.True(t, strings.HasPrefix(key, cache.OwnPrefix), "it is not empty but for a canary: %s", key)
	}
	becomes(http.StatusUnauthorized, own)
	askedBefore := app.Asked.Load()
	for range 3 {
		require.Equal(t, http.StatusOK, asked())
	}
	require.LessOrEqual(t, app.Asked.Load()-askedBefore, int32(1), "it is asked once and then remembered")

	out := s.shell(t, after)
	require.Equal(t, http.StatusOK, own())
	require.Contains(t, file("known.txt"), "; hit")
	require.Contains(t, file("other.txt"), "; hit")
	require.Regexp(t, `(?m)^(pass|warn)`, out)
}

// disasterCommands are those of docs/recipes.md, before and after the disaster,
// with this test's own places for files.
func disasterCommands(t *testing.T, root string) (before, after string) {
	t.Helper()
	recipes, err := os.ReadFile("../../docs/recipes.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)disaster: run by the tests -->\n```sh\n(.*?)```").FindStringSubmatch(string(recipes))
	require.NotNil(t, block, "the recipe is gone")
	script := strings.NewReplacer("/var/backups", t.TempDir(), "/srv/files", root).Replace(block[1])
	before, after, ok := strings.Cut(script, "# after the disaster")
	require.True(t, ok)
	return before, "# " + after
}

// shell runs a script in which caddy is this test's, and speaks to this site.
func (s site) shell(t *testing.T, script string) (output string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "caddy"), []byte("#!/bin/sh\nexec '"+self+"' \"$@\"\n"), 0o700))
	cmd := sitetest.Caddy(t)
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-eu", "-c", script}
	cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"), "CADDY_ADMIN="+s.Admin)
	r := run(t, cmd)
	require.Zero(t, r.status, r.out+r.err)
	return r.out
}
