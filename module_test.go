package filewallball

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }

const sessionCookie = "session=s3cret"

func TestSessionGatesFilesWithRedis(t *testing.T) {
	server := redistest.Start(t)
	dir := sitetest.Files(t, map[string]string{"report.txt": "secret report"})
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}", `
		root `+dir+`
		session_lookup {cookie.session}
		file_metadata {
			source file_system
		}
		file_server`)

	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/report.txt").Status)
	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/report.txt", "Cookie", sessionCookie).Status)

	redis := server.Client()
	require.NoError(t, redis.Set(t.Context(), "session:user:s3cret", `{"user_id": 123}`, time.Hour).Err())
	a := s.Get(t, "/report.txt", "Cookie", sessionCookie)
	require.Equal(t, http.StatusOK, a.Status)
	require.Equal(t, "secret report", a.Body)
	require.Contains(t, a.Header.Values("Cache-Status")[0], "session_lookup; hit; ttl=")
	require.Contains(t, a.Header.Values("Cache-Status")[0], "detail=redis")
	require.Equal(t, "file_metadata; fwd=miss; stored", a.Header.Values("Cache-Status")[1])

	again := s.Get(t, "/report.txt", "Cookie", sessionCookie, "If-None-Match", a.Header.Get("Etag"))
	require.Equal(t, http.StatusNotModified, again.Status)
	require.Equal(t, http.StatusNotFound, s.Get(t, "/none.txt", "Cookie", sessionCookie).Status)
	require.Contains(t, s.Get(t, "/none.txt", "Cookie", sessionCookie).Header.Values("Cache-Status")[1], "; hit; ")

	require.NoError(t, redis.Del(t.Context(), "session:user:s3cret").Err())
	require.Eventually(t, func() bool {
		return s.Get(t, "/report.txt", "Cookie", sessionCookie).Status == http.StatusUnauthorized
	}, time.Second, time.Millisecond, "revoked, yet let in")

	stats := s.Stats(t)
	require.Equal(t, "redis", stats.Store)
	require.NotNil(t, stats.Pool)
	require.NotEmpty(t, stats.Redis.Version)
	require.GreaterOrEqual(t, stats.Families["session"].Hits, 4)
}

func TestSessionDeletedWithoutNearCopiesIsRefusedAtTheNextRequest(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\nnear_cache off\n}", "session_lookup {header.X-Token}\nrespond hi")
	redis := server.Client()
	for range 50 {
		require.NoError(t, redis.Set(t.Context(), "session:user:abc", "{}", time.Hour).Err())
		require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "abc").Status)
		require.NoError(t, redis.Del(t.Context(), "session:user:abc").Err())
		require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "abc").Status)
	}
}

func TestNearCopiesAnswerWithoutRedisAndFollowIt(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "session_lookup {header.X-Token}\nrespond {http.session.v}")
	redis := server.Client()
	near := func() (n struct {
		Near struct {
			Coherent bool
			Hits     int
		}
	}) {
		require.NoError(t, json.Unmarshal([]byte(s.API(t, http.MethodGet, "stats", "").Body), &n))
		return n
	}
	require.Eventually(t, func() bool { return near().Near.Coherent }, 10*time.Second, 10*time.Millisecond)
	for version := range 20 {
		require.NoError(t, redis.Set(t.Context(), "session:user:abc", fmt.Sprintf(`{"v": %d}`, version), time.Hour).Err())
		require.Eventually(t, func() bool {
			return s.Get(t, "/", "X-Token", "abc").Body == fmt.Sprint(version)
		}, time.Second, time.Millisecond)
		require.Contains(t, s.Get(t, "/", "X-Token", "abc").Header.Get("Cache-Status"), "session_lookup; hit; ttl=")
	}
	require.Contains(t, s.Get(t, "/", "X-Token", "abc").Header.Get("Cache-Status"), "detail=near")
	require.Positive(t, near().Near.Hits)
}

func TestLoggingAUserOutDropsAllItsSessionsOnEveryNode(t *testing.T) {
	for name, option := range map[string]func(t *testing.T) string{
		"memory": func(*testing.T) string { return "filewallball" },
		"redis":  func(t *testing.T) string { return "filewallball {\nredis " + redistest.Start(t).Addr() + "\n}" },
	} {
		t.Run(name, func(t *testing.T) {
			app := sitetest.NewApplication(t)
			s := sitetest.Serve(t, option(t), `
				session_lookup {header.X-Token} {
					source http `+app.URL+`
					tag user:{http.session.user_id}
				}
				handle /logout {
					lookup_invalidate {
						tag user:{http.session.user_id}
					}
					respond bye
				}
				handle /fails {
					lookup_invalidate {
						tag user:{http.session.user_id}
					}
					respond 500
				}
				respond {http.session.user_id}`)
			for _, token := range []string{"ada1", "ada2", "bob1"} {
				for range 3 {
					require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", token).Status)
				}
			}
			require.EqualValues(t, 3, app.Asked.Load(), "asked more than once for a session")
			require.Equal(t, http.StatusInternalServerError, s.Get(t, "/fails", "X-Token", "ada1").Status)
			app.Refuses.Store(true)
			require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "ada2").Status, "dropped though the handler failed")

			require.Equal(t, "bye", s.Get(t, "/logout", "X-Token", "ada1").Body)
			require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "ada1").Status)
			require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "ada2").Status)
			require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "bob1").Status)

			a := s.API(t, http.MethodPost, "purge", `{"tag": "user:bob"}`)
			require.JSONEq(t, `{"purged": 1}`, a.Body)
			require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "bob1").Status)
		})
	}
}

func TestInvalidatedKeysAreGoneBeforeTheClientHasItsAnswer(t *testing.T) {
	s := sitetest.Serve(t, "filewallball {\nredis "+redistest.Start(t).Addr()+"\nkey_prefix app:\n}", `
		route {
			lookup_invalidate /delete/* file:meta:{path.1}
			file_metadata {header.X-File} {
				on_missing 410
			}
			respond ok
		}`)
	for i := range 20 {
		name := fmt.Sprint("file", i)
		require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/app:file:meta:"+name, `{"name": "x"}`).Status)
		require.Equal(t, "ok", s.Get(t, "/", "X-File", name).Body)
		require.Equal(t, "ok", s.Get(t, "/", "X-File", name).Body)
		require.Equal(t, "ok", s.Get(t, "/delete/"+name).Body)
		require.Equal(t, http.StatusGone, s.Get(t, "/", "X-File", name).Status)
	}
}

func TestStaleMetadataServesWhileItCannotBeVerified(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\nlookup_timeout 200ms\n}", `
		session_lookup /private {header.X-Token}
		route {
			file_metadata {header.X-File} {
				on_error 503
			}
			respond "{http.file_metadata.name} {http.file_metadata.outcome}"
		}`)
	redis := server.Client()
	require.NoError(t, redis.Set(t.Context(), "file:meta:a", `{"name": "a.pdf"}`, time.Hour).Err())
	require.NoError(t, redis.Set(t.Context(), "session:user:ada", `{}`, time.Hour).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(s.Get(t, "/", "X-File", "a").Header.Get("Cache-Status"), "detail=near") &&
			strings.Contains(s.Get(t, "/private", "X-Token", "ada").Header.Get("Cache-Status"), "detail=near")
	}, 10*time.Second, 10*time.Millisecond)
	server.Kill()
	require.Eventually(t, func() bool {
		return s.Get(t, "/", "X-File", "a").Body == "a.pdf stale"
	}, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, s.Get(t, "/", "X-File", "a").Header.Get("Cache-Status"), "detail=stale")
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/private", "X-Token", "ada").Status, "sessions are never stale by default")
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/", "X-File", "other").Status)
	server.Restart()
	require.Eventually(t, func() bool {
		return s.Get(t, "/private", "X-Token", "ada").Status == http.StatusUnauthorized
	}, 10*time.Second, 10*time.Millisecond)
}

func TestEverythingWorksWithoutConfiguration(t *testing.T) {
	s := sitetest.Serve(t, "", "session_lookup {header.X-Token}\nrespond \"hello {http.session.name}\"")
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:abc?ttl=1m", `{"name": "Ada"}`).Status)
	require.Equal(t, "hello Ada", s.Get(t, "/", "X-Token", "abc").Body)
	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "other").Status)

	stats := s.Stats(t)
	require.Equal(t, "memory", stats.Store)
	require.Nil(t, stats.Pool)
	require.Nil(t, stats.Redis)
	require.Equal(t, 1, stats.Hits)
	require.Equal(t, 1, stats.Misses)
	require.Equal(t, http.StatusOK, s.API(t, http.MethodGet, "health", "").Status)
}

func TestRecordLargerThanTheLimitIsAnError(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"user_id": 1, "filler": %q}`, strings.Repeat("x", 2000))
	}))
	t.Cleanup(app.Close)
	s := sitetest.Serve(t, "filewallball {\nmax_value_size 1kB\n}", "session_lookup {header.X-Token} {\nsource http "+app.URL+"\n}\nrespond hi")
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/", "X-Token", "abc").Status)
}

func TestCaddyStartsValidatesAndRecoversWhileRedisIsDown(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	option := "filewallball {\nredis " + server.Addr() + "\n}"
	s := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	config, err := sitetest.Adapt(s.Config(option, "session_lookup {header.X-Token}\nrespond hi"))
	require.NoError(t, err)
	var parsed caddy.Config
	require.NoError(t, json.Unmarshal(config, &parsed))
	require.NoError(t, caddy.Validate(&parsed))

	s = sitetest.Serve(t, option, "session_lookup {header.X-Token}\nrespond hi")
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/", "X-Token", "abc").Status, "fail closed")
	require.Equal(t, http.StatusServiceUnavailable, s.API(t, http.MethodGet, "health", "").Status)
	require.Equal(t, http.StatusOK, s.API(t, http.MethodGet, "stats", "").Status)

	server.Restart()
	require.NoError(t, server.Client().Set(t.Context(), "session:user:abc", "{}", time.Hour).Err())
	require.Eventually(t, func() bool {
		return s.Get(t, "/", "X-Token", "abc").Status == http.StatusOK
	}, 10*time.Second, 50*time.Millisecond)
	require.Equal(t, http.StatusOK, s.API(t, http.MethodGet, "health", "").Status)
}

func TestWarmedAndRestoredFilesAreHits(t *testing.T) {
	server := redistest.Start(t)
	root := sitetest.Files(t, map[string]string{"a.txt": "a", "sub/b b.txt": "b", "Caddyfile": "secret"})
	option := "filewallball {\nredis " + server.Addr() + "\nkey_prefix app:\n}"
	s := sitetest.Serve(t, option, "root "+root+"\nfile_metadata {\nname files\nsource file_system\n}\nfile_server")
	hit := func() {
		t.Helper()
		for _, path := range []string{"/a.txt", "/sub/b%20b.txt"} {
			a := s.Get(t, path)
			require.Equal(t, http.StatusOK, a.Status)
			require.Contains(t, a.Header.Get("Cache-Status"), "file_metadata; hit", path)
		}
	}

	a := s.API(t, http.MethodPost, "warm", `{"route": "files"}`)
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.Contains(t, a.Body, "give it as root")
	a = s.API(t, http.MethodPost, "warm", `{"route": "files", "root": "`+root+`"}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var last struct {
		Loaded   int
		Finished bool
	}
	lines := strings.Split(strings.TrimSpace(a.Body), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	require.True(t, last.Finished)
	require.Equal(t, 3, last.Loaded)
	require.Zero(t, s.Stats(t).Misses)
	hit()
	require.Zero(t, s.Stats(t).Misses)

	backup := s.API(t, http.MethodGet, "backup", "").Body
	require.NoError(t, server.Client().FlushAll(t.Context()).Err())
	a = s.API(t, http.MethodPost, "restore", backup)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"restored":3,`)
	hit()

	s.Load(t, option, "respond ok")
	http.DefaultClient.CloseIdleConnections() // they are of the old admin server
	a = s.API(t, http.MethodPost, "warm", `{"route": "files", "root": "`+root+`"}`)
	require.Equal(t, http.StatusNotFound, a.Status, "routes are those of the running configuration")
}
