package filewallball

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

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

func TestReloadKeepsRecordsConnectionsAndCounters(t *testing.T) {
	server := redistest.Start(t)
	for name, option := range map[string]string{
		"memory": "filewallball",
		"redis":  "filewallball {\nredis " + server.Addr() + "\n}",
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, option, "session_lookup {header.X-Token}\nrespond before")
			require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:abc", `{}`).Status)
			require.Equal(t, "before", s.Get(t, "/", "X-Token", "abc").Body)
			before := connections(t, server)

			s.Load(t, option, "session_lookup {header.X-Token}\nrespond after")
			require.Equal(t, "after", s.Get(t, "/", "X-Token", "abc").Body)
			require.Equal(t, 2, s.Stats(t).Hits)
			require.Subset(t, connections(t, server), before, "connections were closed")
		})
	}
}

// connections are the ids of those that a Redis has.
func connections(t *testing.T, server *redistest.Server) (ids []string) {
	t.Helper()
	list, err := server.Client().ClientList(t.Context()).Result()
	require.NoError(t, err)
	for _, id := range regexp.MustCompile(`(?m)^id=(\d+)`).FindAllStringSubmatch(list, -1) {
		ids = append(ids, id[1])
	}
	return ids
}

func TestRequestsSurviveReloadsAndAChangeOfStore(t *testing.T) {
	server := redistest.Start(t)
	option := func(poolSize int) string {
		return fmt.Sprintf("filewallball {\nredis %s {\npool_size %d\n}\nnear_cache off\n}", server.Addr(), poolSize)
	}
	routes := "session_lookup {header.X-Token}\nrespond hi"
	s := sitetest.Serve(t, option(1), routes)
	require.NoError(t, server.Client().Set(t.Context(), "session:user:abc", "{}", time.Hour).Err())
	stop := make(chan struct{})
	var group sync.WaitGroup
	var answered atomic.Int64
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, err := http.NewRequest(http.MethodGet, "http://"+s.Page+"/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Token", "abc")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					continue // the connection ended with the old server
				}
				_ = resp.Body.Close()
				answered.Add(1)
				if resp.StatusCode != http.StatusOK {
					t.Errorf("status %d during a reload", resp.StatusCode)
					return
				}
			}
		})
	}
	for i := range 8 {
		s.Load(t, option(2+i), routes)
	}
	close(stop)
	group.Wait()
	require.Positive(t, answered.Load())
}

func TestRecordLargerThanTheLimitIsAnError(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"user_id": 1, "filler": %q}`, strings.Repeat("x", 2000))
	}))
	t.Cleanup(app.Close)
	s := sitetest.Serve(t, "filewallball {\nmax_value_size 1kB\n}", "session_lookup {header.X-Token} {\nsource http "+app.URL+"\n}\nrespond hi")
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/", "X-Token", "abc").Status)
}

func TestCountersOutliveAChangeOfStore(t *testing.T) {
	s := sitetest.Serve(t, "filewallball {\nmemory {\nmax_size 1MB\n}\n}", "session_lookup {header.X-Token} {\nname door\n}\nrespond hi")
	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "abc").Status)
	s.Load(t, "filewallball {\nredis "+redistest.Start(t).Addr()+"\n}", "respond hi")
	require.Equal(t, 1, s.Stats(t).Families["session"].Misses)
	require.NotContains(t, s.Stats(t).Routes, "door")
}

func TestFailedReloadLeavesTheRunningConfigurationAlone(t *testing.T) {
	s := sitetest.Serve(t, "filewallball", "session_lookup {header.X-Token}\nrespond hi")
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:abc", `{}`).Status)
	bad, err := sitetest.Adapt(s.Config("filewallball {\nkey_prefix {env.NO_SUCH_{x}}\n}", "session_lookup {header.X-Token} {\nkey nothing\n}\nrespond hi"))
	require.NoError(t, err)
	for range 3 {
		require.Error(t, caddy.Load(bad, true))
		require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "abc").Status)
	}
}

func TestCaddyStartsValidatesAndRecoversWhileRedisIsDown(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	option := "filewallball {\nredis " + server.Addr() + "\n}"
	s := sitetest.Site{Page: sitetest.FreeAddr(t), Admin: sitetest.FreeAddr(t)}
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

func TestGlobalOptionErrorsSayWhatWouldBeRight(t *testing.T) {
	for name, c := range map[string]struct{ option, want string }{
		"unknown option":       {"colour red", "unknown option 'colour': filewallball takes redis"},
		"argument":             {"", "takes a block and no argument, but has 'x'"},
		"unknown redis option": {"redis {\nadress a:1\n}", "unknown option 'adress': redis takes profile, url, address"},
		"twice":                {"key_prefix a:\nkey_prefix b:", "key_prefix is given twice"},
		"bad duration":         {"lookup_timeout soon", "lookup_timeout: 'soon' is not a duration"},
		"bad size":             {"max_value_size big", "max_value_size: 'big' is not a size"},
		"unknown family":       {"ttl sessions 1h", "family 'sessions' is not known: want one of file_meta, session, upload_progress"},
		"family twice":         {"ttl session 1h\nttl session 2h", "ttl of session is given twice"},
		"bad ttl":              {"ttl session -1h", "ttl of session: '-1h' is not a duration"},
		"bad profile":          {"redis {\nprofile staging\n}", "profile: 'staging' is not one of development, kubernetes, production"},
		"bad db":               {"redis {\ndb -1\n}", "db: '-1' is not a whole number of at least 0"},
		"bad backoff":          {"redis {\nretry_backoff 2s 1s\n}", "the shortest pause 2s is longer than the longest 1s"},
		"bad percentage":       {"alert {\nhit_rate_below 180\n}", "hit_rate_below: '180' is not a percentage"},
		"persist without file": {"memory {\npersist\n}", "persist takes a file, and maybe how often it is saved"},
		"persist with more":    {"memory {\npersist a 1m b\n}", "persist takes a file, and maybe how often it is saved"},
		"persist too often":    {"memory {\npersist a 1ms\n}", "persist: '1ms' is not a duration of at least 1s"},
		"unknown in memory":    {"memory {\nfile a\n}", "unknown option 'file': memory takes max_size and persist"},
		"both stores":          {"redis\nmemory", "redis and memory are both given"},
		"tls without key":      {"redis {\ntls {\ncert a.pem\n}\n}", "cert takes the PEM files of a certificate and of its key"},
		"bad breaker":          {"redis {\nbreaker 5\n}", "breaker takes off, or how many failures open it and for how long"},
		"breaker of none":      {"redis {\nbreaker 0 1s\n}", "'0' is not a number of failures"},
		"addresses twice":      {"redis a:1 {\naddress b:2\n}", "give them in one place"},
	} {
		t.Run(name, func(t *testing.T) {
			option := "filewallball {\n" + c.option + "\n}"
			if c.option == "" {
				option = "filewallball x"
			}
			_, err := sitetest.Adapt("{\n" + option + "\n}\n")
			require.ErrorContains(t, err, c.want)
			require.Regexp(t, `Caddyfile:\d+`, err.Error(), "the line is named")
		})
	}
	_, err := sitetest.Adapt("{\nfilewallball\nfilewallball\n}\n")
	require.ErrorContains(t, err, "given twice")
}

func TestDirectiveErrorsSayWhatWouldBeRight(t *testing.T) {
	for name, c := range map[string]struct{ routes, want string }{
		"nothing to invalidate":     {"lookup_invalidate", "takes a key like {session} or session:user:{cookie.session}, or a block with tag"},
		"unknown in invalidate":     {"lookup_invalidate a {\nkeys b\n}", "unknown subdirective 'keys': lookup_invalidate takes tag"},
		"metadata without identity": {"file_metadata", "takes an identity, like {path}, unless it has source file_system"},
		"tag without template":      {"lookup_invalidate {\ntag\n}", "tag takes one template or more"},
		"stale that is no time":     {"session_lookup {cookie.a} {\nstale_if_error long\n}", "stale_if_error: 'long' is not a duration"},
		"stale twice":               {"session_lookup {cookie.a} {\nstale_if_error 0\nstale_if_error 1s\n}", "stale_if_error is given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitetest.Adapt("http://localhost {\n" + c.routes + "\n}")
			require.ErrorContains(t, err, c.want)
		})
	}
	for name, c := range map[string]struct{ routes, want string }{
		"tag without source":      {"session_lookup {cookie.a} {\ntag user:{http.session.user_id}\n}", "tag needs a source"},
		"tag of the request":      {"session_lookup {cookie.a} {\nsource http http://127.0.0.1/\ntag host:{host}\n}", "{http.request.host} is not known when a record comes from its source"},
		"key without identity":    {"session_lookup {cookie.a} {\nkey all\n}", "has no {id}, so every identity would share one record"},
		"source of no identity":   {"session_lookup x{cookie.a} {\nsource http http://127.0.0.1/ {\nheader A b\n}\n}", "nothing in the request tells the identity"},
		"source with the request": {"session_lookup {cookie.a} {\nsource http http://{host}/\n}", "in the host"},
		"files as sessions":       {"session_lookup {cookie.a} {\nsource file_system\n}", "finds files and no sessions"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := sitetest.Adapt("http://localhost {\n" + c.routes + "\n}")
			require.NoError(t, err)
			var parsed caddy.Config
			require.NoError(t, json.Unmarshal(config, &parsed))
			require.ErrorContains(t, caddy.Validate(&parsed), c.want)
		})
	}
}

func TestNearCacheOptionErrors(t *testing.T) {
	for option, want := range map[string]string{
		"near_cache on":                "unexpected 'on': near_cache takes off",
		"near_cache off {\nttl 1s\n}":  "near_cache is off and takes no ttl",
		"near_cache {\nsize 1MB\n}":    "unknown option 'size': near_cache takes off, or a block with max_size and ttl",
		"near_cache {\nmax_size -1\n}": "max_size: '-1' is not a size",
	} {
		_, err := sitetest.Adapt("{\nfilewallball {\n" + option + "\n}\n}\n")
		require.ErrorContains(t, err, want)
	}
}

// python runs a script with Debian's Redis client for Python.
func python(t *testing.T, script string) string {
	t.Helper()
	if exec.Command("/usr/bin/python3", "-c", "import redis").Run() != nil {
		t.Skip("python3-redis is not installed: apt-get install python3-redis")
	}
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", script).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(bytes.TrimSpace(out)))
}

func TestPythonClientSharesRecords(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}",
		"session_lookup {header.X-Token}\nrespond \"{http.session.user_id} {http.session.permissions}\"")
	host, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	connect := fmt.Sprintf("import json, redis\nr = redis.Redis(host=%q, port=%s)\n", host, port)

	python(t, connect+`r.set("session:user:123", json.dumps({"user_id": 123, "permissions": ["read", "write"], "name": "김"}), ex=86400)`)
	a := s.Get(t, "/", "X-Token", "123")
	require.Equal(t, `123 ["read", "write"]`, a.Body)
	require.Regexp(t, `ttl=8(6400|639\d);`, a.Header.Get("Cache-Status"))

	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/file:meta:test-123?ttl=1h", `{"name": "document.pdf", "size": 1024000}`).Status)
	require.Equal(t, "document.pdf 1024000 True",
		python(t, connect+`m = json.loads(r.get("file:meta:test-123")); print(m["name"], m["size"], 3590 < r.ttl("file:meta:test-123") <= 3600)`))
}

func TestRedisCLISharesRecords(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "session_lookup {header.X-Token}\nrespond ok")
	_, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	cli := func(args ...string) string {
		out, err := exec.CommandContext(context.Background(), "redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	cli("SET", "session:user:x", `{"user_id": 1}`, "EX", "60")
	require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "x").Status)
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:y?ttl=1h", `{"user_id":2}`).Status)
	require.Equal(t, `{"user_id":2}`, cli("GET", "session:user:y"))
	require.Regexp(t, `^3(600|59\d)$`, cli("TTL", "session:user:y"))
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
