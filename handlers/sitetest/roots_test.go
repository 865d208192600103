package sitetest_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// healthOf is the report of health, with its status.
func healthOf(t *testing.T, s sitetest.Site) (status int, report wire.Health) {
	t.Helper()
	answer := s.API(t, http.MethodGet, "health", "")
	require.NoError(t, json.Unmarshal([]byte(answer.Body), &report))
	return answer.Status, report
}

// rootsIn are the outputs of the checks of roots, by directory, "" for those that pass.
func rootsIn(report wire.Health) map[string]string {
	roots := make(map[string]string)
	for name, checks := range report.Checks {
		if dir, ok := strings.CutPrefix(name, "root:"); ok {
			roots[dir] = checks[0].Output
		}
	}
	return roots
}

func TestHealthWarnsOfARootWhoseFilesCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"empty", "good", "hosts", "hosts/127.0.0.1"} {
		require.NoError(t, os.Mkdir(path(name), 0o755))
	}
	for _, name := range []string{"file", "good/a.txt"} {
		require.NoError(t, os.WriteFile(path(name), []byte("text"), 0o600))
	}
	require.NoError(t, os.Symlink("loop", path("loop")))
	s := sitetest.Serve(t, "filesystem kept lookup_cache", `
		handle /good/* {
			root `+path("good")+`
			uri strip_prefix /good
			file_metadata {
				source file_system
			}
			file_server
		}
		handle /missing/* {
			root `+path("missing")+`
			file_metadata {
				source file_system
			}
			file_server
		}
		handle /file/* {
			file_metadata {
				source file_system {
					root `+path("file")+`
				}
			}
			file_server {
				root `+path("file")+`
			}
		}
		handle /loop/* {
			root `+path("loop")+`
			file_metadata {
				source file_system
			}
			file_server
		}
		handle /empty/* {
			root `+path("empty")+`
			file_metadata {
				source file_system
			}
			file_server
		}
		handle /kept/* {
			root `+path("notkept")+`
			fs kept
			file_metadata {
				source file_system
			}
			file_server
		}
		handle /hosts/* {
			root `+path("hosts")+`/{host}
			file_metadata {
				source file_system
			}
			file_server
		}
		handle /sub/* {
			root `+path("nothing")+`
			file_metadata {
				source file_system {
					root {http.vars.root}/sub
				}
			}
			file_server {
				root {http.vars.root}/sub
			}
		}
		handle /unused/* {
			root `+path("unused")+`
			file_metadata {
				source file_system
			}
			file_server
		}`)
	_, report := healthOf(t, s)
	require.Equal(t, wire.HealthPass, report.Status)
	require.Empty(t, rootsIn(report), "no request has led to a root")

	require.Equal(t, http.StatusOK, s.Get(t, "/good/a.txt").Status)
	for _, place := range []string{"missing", "file", "empty", "kept", "hosts", "sub"} {
		require.Equal(t, http.StatusNotFound, s.Get(t, "/"+place+"/a.txt").Status, place)
	}
	s.Get(t, "/loop/a.txt")
	want := map[string]string{
		path("good"):              "",
		path("hosts"):             "", // not the directory of a host: clients choose it
		path("missing"):           "the root " + path("missing") + " does not exist",
		path("file"):              "the root " + path("file") + " is not a directory",
		path("loop"):              "the root " + path("loop") + " cannot be read: too many levels of symbolic links",
		path("empty"):             "the root " + path("empty") + " is empty: is its file system mounted?",
		"kept:" + path("notkept"): "the root kept:" + path("notkept") + " does not exist",
		path("nothing/sub"):       "the root " + path("nothing/sub") + " does not exist",
	}
	status, report := healthOf(t, s)
	require.Equal(t, http.StatusOK, status, "other files and sessions work")
	require.Equal(t, wire.HealthWarn, report.Status)
	require.Equal(t, want, rootsIn(report))
	require.Contains(t, report.Output, want[path("missing")])
	require.Contains(t, report.Checks["root:"+path("missing")][0].Links["runbook"], "#the-root-of-files-cannot-be-read")
	counted := func(n string) bool {
		healthOf(t, s) // the metric is of the last check
		return strings.Contains(sitetest.Request(t, http.MethodGet, "http://"+s.Admin+"/metrics", "").Body, "\ncaddy_filewallball_source_roots_failing "+n+"\n")
	}
	require.Eventually(t, func() bool { return counted("6") }, 10*time.Second, 10*time.Millisecond)

	// it ends by itself
	require.NoError(t, os.Remove(path("loop")))
	require.NoError(t, os.Remove(path("file")))
	for _, name := range []string{"missing", "loop", "file", "empty", "notkept", "nothing/sub"} {
		require.NoError(t, os.MkdirAll(path(name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(path(name), ".keep"), nil, 0o600))
	}
	require.Eventually(t, func() bool { // kept caches what it has found
		_, report = healthOf(t, s)
		return report.Status == wire.HealthPass
	}, 10*time.Second, 10*time.Millisecond)
	require.Len(t, rootsIn(report), len(want))
	require.Eventually(t, func() bool { return counted("0") }, 10*time.Second, 10*time.Millisecond)
}

func TestARootThatCannotBeReadIsAnEventOnceAcrossReloads(t *testing.T) {
	server := redistest.Start(t)
	root := filepath.Join(t.TempDir(), "later")
	options := "events {\non filewallball.alert_raised remember\non filewallball.alert_cleared remember\n}\nfilewallball {\nredis " + server.Addr() + "\n}"
	site := "root " + root + "\nfile_metadata {\nsource file_system\n}\nfile_server"
	times := func(text string) int {
		remembered.Lock()
		defer remembered.Unlock()
		return strings.Count(remembered.data, text)
	}
	s := sitetest.Serve(t, options, site)
	require.Equal(t, http.StatusNotFound, s.Get(t, "/a.txt").Status)
	raised := "check:root:" + root + " output:the root " + root + " does not exist status:warn"
	require.Eventually(t, func() bool { return times(raised) == 1 }, 20*time.Second, 10*time.Millisecond)

	s.Load(t, options, site+"\nheader X-New 1")
	_, report := healthOf(t, s)
	require.Equal(t, map[string]string{root: "the root " + root + " does not exist"}, rootsIn(report), "without a request")

	server.Kill()
	require.Eventually(t, func() bool {
		status, report := healthOf(t, s)
		return status == http.StatusServiceUnavailable && rootsIn(report)[root] != ""
	}, 20*time.Second, 10*time.Millisecond, "also while the store is down")
	server.Restart()
	require.NoError(t, os.Mkdir(root, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "a.txt"), nil, 0o600))
	require.Eventually(t, func() bool { return times("map[check:root:"+root+"]") == 1 }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, 1, times(raised))

	// a root that no lookup has any more
	s.Load(t, options, "respond hi")
	_, report = healthOf(t, s)
	require.Empty(t, rootsIn(report))
}
