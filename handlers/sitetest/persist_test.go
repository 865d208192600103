package sitetest_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

const gate = "session_lookup {header.X-Token}\nrespond hi"

func persisted(file string, more ...string) string {
	option := "filewallball {\nmemory {\npersist " + file + "\n"
	for _, line := range more {
		option += line + "\n"
	}
	return option + "}\n}"
}

func admit(t *testing.T, s sitetest.Site, token, ttl string) {
	t.Helper()
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:"+token+"?ttl="+ttl, `{}`).Status)
}

func admits(t *testing.T, s sitetest.Site, token string) bool {
	t.Helper()
	switch status := s.Get(t, "/", "X-Token", token).Status; status {
	case http.StatusOK:
		return true
	case http.StatusUnauthorized:
	default:
		require.Fail(t, "neither let in nor refused", status)
	}
	return false
}

func TestSessionsOutliveARestartWhereAskedTo(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	option := persisted("{env.STATE_DIRECTORY}/fwb/records 30s")
	s := sitetest.Serve(t, option, gate)
	admit(t, s, "ada", "1h")
	admit(t, s, "brief", "500ms")
	over := time.Now().Add(500 * time.Millisecond)
	admit(t, s, "out", "1h")
	require.True(t, admits(t, s, "ada") && admits(t, s, "out"))
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodDelete, "keys/session:user:out", "").Status)
	require.NoError(t, caddy.Stop())
	require.FileExists(t, filepath.Join(os.Getenv("STATE_DIRECTORY"), "fwb", "records"))
	require.Eventually(t, func() bool { return time.Now().After(over) }, 5*time.Second, time.Millisecond)

	s.Load(t, option, gate)
	require.True(t, admits(t, s, "ada"))
	require.False(t, admits(t, s, "brief"), "it expired meanwhile")
	require.False(t, admits(t, s, "out"), "it was deleted")
	require.NoError(t, caddy.Stop())

	s.Load(t, "filewallball", gate)
	require.False(t, admits(t, s, "ada"), "persist was not configured")
}

func TestTaggedSessionsAreDroppedTogetherAfterARestart(t *testing.T) {
	app := sitetest.NewApplication(t)
	option := persisted(filepath.Join(t.TempDir(), "records"))
	routes := `session_lookup {header.X-Token} {
		source http ` + app.URL + `
		tag user:{http.session.user_id}
	}
	respond hi`
	s := sitetest.Serve(t, option, routes)
	for _, token := range []string{"ada1", "ada2", "bob1"} {
		require.True(t, admits(t, s, token))
	}
	require.NoError(t, caddy.Stop())
	s.Load(t, option, routes)
	app.Refuses.Store(true)
	for _, token := range []string{"ada1", "ada2", "bob1"} {
		require.True(t, admits(t, s, token))
	}
	require.EqualValues(t, 3, app.Asked.Load(), "asked again after the restart")
	require.JSONEq(t, `{"purged": 1}`, s.API(t, http.MethodPost, "purge", `{"tag": "user:ada"}`).Body)
	require.False(t, admits(t, s, "ada1") || admits(t, s, "ada2"))
	require.True(t, admits(t, s, "bob1"))
}

// Whatever a reload changes, nothing that the store knew is lost, nothing that
// was deleted comes back, and what is on the disk in the end is the last.
func TestReloadsThatChangeTheEmbeddedStoreLoseNothing(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	redis := "filewallball {\nredis " + redistest.Start(t).Addr() + "\n}"
	s := sitetest.Serve(t, persisted(one), gate)
	admit(t, s, "ada", "1h")
	admit(t, s, "out", "1h")
	for _, option := range []string{
		persisted(one, "max_size 10MB"), persisted(one + " 5s"), persisted(two), "filewallball",
		persisted(one), "filewallball {\nmax_value_size 1kB\n}", persisted(two),
	} {
		s.Load(t, option, gate)
		require.True(t, admits(t, s, "ada"), option)
	}
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodDelete, "keys/session:user:out", "").Status)
	s.Load(t, persisted(one), gate)
	require.False(t, admits(t, s, "out"), "back from a file of before")

	s.Load(t, redis, gate)
	require.False(t, admits(t, s, "ada"), "another store")
	s.Load(t, persisted(one), gate)
	require.True(t, admits(t, s, "ada"), "the old store is still to be closed")
	admit(t, s, "bob", "1h")

	s.Load(t, redis, gate)
	require.NoError(t, caddy.Stop())
	s.Load(t, persisted(one), gate)
	require.True(t, admits(t, s, "ada") && admits(t, s, "bob"), "it was not saved when all ended")
	require.False(t, admits(t, s, "out"))
}

func TestFailedReloadLeavesTheFileToTheRunningConfiguration(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	s := sitetest.Serve(t, persisted(one), gate)
	admit(t, s, "ada", "1h")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	busy := sitetest.Site{Page: taken.Addr().String(), Admin: s.Admin}
	bad, err := sitetest.Adapt(busy.Config(persisted(two), gate))
	require.NoError(t, err)
	require.Error(t, caddy.Load(bad, true))
	require.True(t, admits(t, s, "ada"))
	require.NoError(t, caddy.Stop())
	s.Load(t, persisted(one), gate)
	require.True(t, admits(t, s, "ada"), "saved elsewhere")
}

func TestValidatingNeitherReadsNorWritesTheFile(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	require.NoError(t, os.WriteFile(damaged, []byte("not records"), 0o600))
	for _, file := range []string{damaged, filepath.Join(dir, "none", "records")} {
		config, err := sitetest.Adapt("{\n" + persisted(file) + "\n}\nhttp://127.0.0.1:0 {\n" + gate + "\n}")
		require.NoError(t, err)
		var parsed caddy.Config
		require.NoError(t, json.Unmarshal(config, &parsed))
		require.NoError(t, caddy.Validate(&parsed))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestDamagedFileIsNotFatal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "records")
	require.NoError(t, os.WriteFile(file, []byte("not records"), 0o600))
	s := sitetest.Serve(t, persisted(file), gate)
	require.False(t, admits(t, s, "ada"))
	admit(t, s, "ada", "1h")
	require.NoError(t, caddy.Stop())
	aside, err := filepath.Glob(file + ".damaged-*")
	require.NoError(t, err)
	require.Len(t, aside, 1)
	s.Load(t, persisted(file), gate)
	require.True(t, admits(t, s, "ada"))
}

func TestPersistIsAdaptedToJSON(t *testing.T) {
	for file, want := range map[string]string{
		"{env.HOME}/records 90s":                   `"persist_interval": 90000000000`,
		"{env.HOME}/records 90s {\njournal off\n}": `"persist_interval": 90000000000, "persist_journal": false`,
		"{env.HOME}/records {\njournal\n}":         `"persist_journal": true`,
	} {
		config, err := sitetest.Adapt("{\n" + persisted(file, "max_size 1MB") + "\n}\nhttp://127.0.0.1:0\n")
		require.NoError(t, err)
		var parsed struct{ Apps map[string]json.RawMessage }
		require.NoError(t, json.Unmarshal(config, &parsed))
		require.JSONEq(t, `{"memory": {"max_size": 1000000, "persist": "{env.HOME}/records", `+want+`}}`,
			string(parsed.Apps["filewallball"]))
	}
	for line, want := range map[string]string{
		"journal maybe":           "journal",
		"journal on\njournal off": "journal",
		"fsync":                   "persist takes journal",
	} {
		_, err := sitetest.Adapt("{\n" + persisted("records {\n"+line+"\n}") + "\n}\nhttp://127.0.0.1:0\n")
		require.ErrorContains(t, err, want)
	}
}

func TestPersistOfJSONIsChecked(t *testing.T) {
	for app, want := range map[string]string{
		`{"memory": {"persist_interval": "1m"}}`:                      "persist_interval needs persist",
		`{"memory": {"persist_journal": true}}`:                       "persist_journal needs persist",
		`{"memory": {"persist": "a", "persist_interval": "1ms"}}`:     "persist_interval is 1ms: want at least 1s",
		`{"memory": {"persist": "{env.NO_SUCH_VARIABLE_IS_SET}"}}`:    "the name of the file is empty",
		`{"memory": {"persist": "{nothing.known}/records"}}`:          "memory persist: unrecognized placeholder",
		`{"memory": {"max_size": -1}}`:                                "sizes cannot be negative",
		`{"memory": {"persist": "records", "persist_interval": -10}}`: "persist_interval is -10ns: want at least 1s",
	} {
		var parsed caddy.Config
		require.NoError(t, json.Unmarshal([]byte(`{"apps": {"filewallball": `+app+`}}`), &parsed))
		require.ErrorContains(t, caddy.Validate(&parsed), want, app)
	}
}
