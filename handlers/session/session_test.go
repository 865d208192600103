package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

const cookieID = `"id": "{http.request.cookie.session}"`

// session is a session_lookup over an app of its own. The config is what its
// JSON has beside the identity.
func session(t testing.TB, config string) (*lookuptest.App, caddyhttp.MiddlewareHandler) {
	t.Helper()
	ctx, app := lookuptest.NewApp(t, `{}`)
	return app, sessionIn(t, ctx, config)
}

func TestSessionOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record string // "" is none
		cookie string
		want   lookuptest.Answer
		status string // Cache-Status
		placeh string // outcome, user, name
	}{
		"valid":             {`{"user_id": 7, "name": "Ada"}`, "abc", lookuptest.Answer{Status: 200, Next: true}, "session_lookup; hit; ttl=1h; detail=memory", "hit 7 Ada"},
		"no identity":       {`{"user_id": 7}`, "", lookuptest.Answer{Status: 401}, "", "none  "},
		"unknown":           {"", "abc", lookuptest.Answer{Status: 401}, "session_lookup; fwd=miss; detail=absent", "absent  "},
		"known absence":     {"null", "abc", lookuptest.Answer{Status: 401}, "session_lookup; hit; ttl=1h; detail=absent", "absent  "},
		"refused":           {`{"denied": 451, "user_id": 7}`, "abc", lookuptest.Answer{Status: 403}, "session_lookup; hit; ttl=1h; detail=denied", "denied  "},
		"expired":           {`{"user_id": 7, "expires_at": 1}`, "abc", lookuptest.Answer{Status: 401}, "session_lookup; fwd=miss; detail=absent", "absent  "},
		"expired, RFC 3339": {`{"user_id": 7, "expires_at": "2001-01-01T00:00:00Z"}`, "abc", lookuptest.Answer{Status: 401}, "session_lookup; fwd=miss; detail=absent", "absent  "},
		"not yet expired":   {`{"user_id": 7, "expires_at": 9999999999}`, "abc", lookuptest.Answer{Status: 200, Next: true}, "session_lookup; hit; ttl=1h; detail=memory", "hit 7 "},
		"expiry unreadable": {`{"user_id": 7, "expires_at": "soon"}`, "abc", lookuptest.Answer{Status: 503}, "session_lookup; fwd=bypass; detail=error", "error  "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := session(t, cookieID)
			if c.record != "" {
				app.Put(t, "session:user:abc", c.record)
			}
			r := lookuptest.Get("/")
			if c.cookie != "" {
				r.Header.Set("Cookie", "session="+c.cookie)
			}
			got := lookuptest.Serve(h, r)
			require.Equal(t, c.want.Status, got.Status)
			require.Equal(t, c.want.Next, got.Next)
			require.Equal(t, c.status, got.CacheStatus())
			require.Equal(t, c.placeh, got.Placeholder("http.session.outcome")+" "+
				got.Placeholder("http.session.user_id")+" "+got.Placeholder("http.session.name"))
			require.Equal(t, c.cookie, got.Placeholder("http.session.id"))
		})
	}
}

func TestSessionReactions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config, cookie string
		status         int
		next           bool
	}{
		"missing, status":       {`"on_missing": {"status": 404}`, "unknown", 404, false},
		"missing, continue":     {`"on_missing": {"continue": true}`, "unknown", 200, true},
		"missing, redirect":     {`"on_missing": {"redirect": "/login"}`, "unknown", 302, false},
		"no identity, continue": {`"on_missing": {"continue": true}`, "", 200, true},
		"no identity, redirect": {`"on_missing": {"redirect": "/login"}`, "", 302, false},
		"denied, status":        {`"on_denied": {"status": 404}`, "denied", 404, false},
		"denied, continue":      {`"on_denied": {"continue": true}`, "denied", 200, true},
		"error, status":         {`"on_error": {"status": 500}`, "broken", 500, false},
		"error, continue":       {`"on_error": {"continue": true}`, "broken", 200, true},
		"error":                 {`"name": "a"`, "broken", 503, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, app := lookuptest.NewApp(t, `{}`)
			app.Use(t, brokenStore{})
			h := sessionIn(t, ctx, cookieID+", "+c.config)
			r := lookuptest.Get("/")
			if c.cookie != "" {
				r.Header.Set("Cookie", "session="+c.cookie)
			}
			got := lookuptest.Serve(h, r)
			require.Equal(t, c.status, got.Status)
			require.Equal(t, c.next, got.Next)
			require.Empty(t, got.Placeholder("http.session.user_id"))
			require.Empty(t, got.Placeholder("http.auth.user.id"))
		})
	}
}

// brokenStore has one refused session, and fails for what is named broken.
type brokenStore struct{ cache.Store }

func (brokenStore) Name() string { return "broken" }
func (brokenStore) Close() error { return nil }

func (brokenStore) Pool() *cache.PoolStats { return nil }

func (brokenStore) Get(_ context.Context, key string) (cache.Entry, error) {
	switch {
	case strings.HasSuffix(key, ":broken"):
		return cache.Entry{}, fmt.Errorf("reading: %w", cache.ErrUnavailable)
	case strings.HasSuffix(key, ":denied"):
		return cache.Entry{Record: cache.DeniedRecord(403)}, nil
	}
	return cache.Entry{}, nil
}

func sessionIn(t testing.TB, ctx caddy.Context, config string) caddyhttp.MiddlewareHandler {
	t.Helper()
	h, err := lookuptest.NewHandler(ctx, "session_lookup", "{"+config+"}")
	require.NoError(t, err)
	return h
}

func TestMalformedIdentityIsRefusedAndReachesNoStore(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{
		"line break":          "a\r\nSET x 1",
		"zero":                "a\x00b",
		"delete":              "a\x7f",
		"a C1 control":        "a\u0085b",
		"invalid UTF-8":       "a\xff",
		"longer than allowed": strings.Repeat("a", cache.MaxIdentity+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := session(t, `"id": "{http.request.header.X-Id}", "on_missing": {"continue": true}, "on_error": {"continue": true}, "on_denied": {"continue": true}`)
			r := lookuptest.Get("/")
			r.Header.Set("X-Id", id)
			got := lookuptest.Serve(h, r)
			require.Equal(t, http.StatusBadRequest, got.Status)
			require.False(t, got.Next)
			require.Equal(t, "none", got.Placeholder("http.session.outcome"))
			require.Empty(t, got.Placeholder("http.session.id"))
			require.Empty(t, got.Header().Get("Cache-Status"))
			require.NotContains(t, got.Err.Error(), id)
			require.Zero(t, app.Cache().Stats().Snapshot().All.TotalRequests)
		})
	}
}

// A hostile identity is a key like any other: of itself only.
func TestHostileIdentityFindsNoOtherSession(t *testing.T) {
	t.Parallel()
	app, h := session(t, `"id": "{http.request.header.X-Id}"`)
	app.Put(t, "session:user:alice", `{"user_id": "alice"}`)
	app.Put(t, "session:user:{env.HOME}", `{"user_id": "braces"}`)
	for _, id := range []string{"*", "alic?", "[a]lice", "alice*", " alice", "Alice", "alice:", "../alice", "{id}", "%61lice", "a\\lice", "'; return 1 --"} {
		require.Equal(t, http.StatusUnauthorized, lookuptest.Serve(h, lookuptest.Get("/", "X-Id", id)).Status, id)
	}
	require.Equal(t, "alice", lookuptest.Serve(h, lookuptest.Get("/", "X-Id", "alice")).Placeholder("http.auth.user.id"))
	got := lookuptest.Serve(h, lookuptest.Get("/", "X-Id", "{env.HOME}"))
	require.Equal(t, "braces", got.Placeholder("http.auth.user.id"), "what clients send is not expanded")
}

func TestSessionKeys(t *testing.T) {
	t.Setenv("TEST_REALM", "realm")
	sum := func(id string) string {
		sum := sha256.Sum256([]byte(id))
		return hex.EncodeToString(sum[:])
	}
	long := strings.Repeat("x", 513)
	for name, c := range map[string]struct {
		prefix, config, id, key string
	}{
		"default":                {"", `"name": "a"`, "abc", "session:user:abc"},
		"prefix":                 {"p:", `"name": "a"`, "abc", "p:session:user:abc"},
		"template":               {"p:", `"key": "x:{id}"`, "abc", "p:x:abc"},
		"twice":                  {"", `"key": "x:{id}:{id}"`, "abc", "x:abc:abc"},
		"environment":            {"", `"key": "{env.TEST_REALM}:{id}"`, "abc", "realm:abc"},
		"request":                {"p:", `"key": "{http.request.host}:{env.TEST_REALM}:{id}"`, "abc", "p:example.com:realm:abc"},
		"hash":                   {"", `"hash_id": true`, "abc", "session:user:" + sum("abc")},
		"long":                   {"", `"name": "a"`, long, "session:user:sha256:" + sum(long)},
		"hash tag":               {"p:", `"key": "\\{session\\}:{id}"`, "abc", "p:{session}:abc"},
		"hash tag and request":   {"p:", `"key": "\\{session\\}:{http.request.host}:{id}"`, "abc", "p:{session}:example.com:abc"},
		"prefix with braces":     {"{x}", `"key": "{http.request.host}:{id}"`, "abc", "{x}example.com:abc"},
		"identity like template": {"", `"key": "x:{http.request.host}:{id}"`, "{http.request.host}", "x:example.com:{http.request.host}"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, app := lookuptest.NewApp(t, `{"key_prefix": "`+c.prefix+`"}`)
			h := sessionIn(t, ctx, `"id": "{http.request.header.X-Id}", `+c.config)
			require.Equal(t, http.StatusUnauthorized, lookuptest.Serve(h, lookuptest.Get("/", "X-Id", c.id)).Status)
			app.Put(t, c.key, `{}`)
			require.Equal(t, http.StatusOK, lookuptest.Serve(h, lookuptest.Get("/", "X-Id", c.id)).Status)
		})
	}
}

func TestKeyPlaceholdersAreCheckedLikeIdentities(t *testing.T) {
	t.Parallel()
	_, h := session(t, `"id": "{http.request.header.X-Id}", "key": "r:{http.request.header.X-Realm}:{id}"`)
	r := lookuptest.Get("/", "X-Id", "abc")
	r.Header.Set("X-Realm", "a\nb")
	require.Equal(t, http.StatusBadRequest, lookuptest.Serve(h, r).Status)
}

func TestRedirectOnMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ template, target, want string }{
		"fixed":                    {"/login", "/a", "/login"},
		"absolute":                 {"https://login.example/?to={http.request.uri_escaped}", "/a?b=c&d=e", "https://login.example/?to=%2Fa%3Fb%3Dc%26d%3De"},
		"another host on purpose":  {"//login.example/", "/a", "//login.example/"},
		"host":                     {"https://{http.request.host}/login", "/a", "https://example.com/login"},
		"path of another host":     {"{http.request.uri.path}/login", "//evil.example", "/evil.example/login"},
		"backslash":                {"{http.request.uri.path}/login", `/%5Cevil.example`, "/evil.example/login"},
		"backslash after slash":    {"/{http.request.uri.path.0}", `/%5Cevil.example`, "/evil.example"},
		"line break":               {"/login?to={http.request.uri.path}", "/a%0d%0aSet-Cookie:x=1", "/login?to=%2Fa%0D%0ASet-Cookie%3Ax%3D1"},
		"tab to hide a slash":      {"/{http.request.uri.path.0}/{http.request.uri.path.1}", "/%09/evil.example", "/%09/evil.example"},
		"not ASCII":                {"/login?to={http.request.uri.path}", "/%C3%A9", "/login?to=%2F%C3%A9"},
		"escapes in the template":  {"/log%20in", "/a", "/log%20in"},
		"unknown is nothing":       {"/login{http.no.such}", "/a", "/login"},
		"what clients say is text": {"/login?to={http.request.uri.query.q}", "/a?q={http.request.host}", "/login?to=%7Bhttp.request.host%7D"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h := session(t, cookieID+`, "on_missing": {"redirect": "`+c.template+`"}`)
			got := lookuptest.Serve(h, lookuptest.Get("http://example.com"+c.target))
			require.Equal(t, http.StatusFound, got.Status)
			require.Equal(t, c.want, got.Header().Get("Location"))
			require.Equal(t, "no-store", got.Header().Get("Cache-Control"))
		})
	}
}

func TestSlidingExtendsASessionInUse(t *testing.T) {
	t.Parallel()
	for name, sliding := range map[string]bool{"sliding": true, "not sliding": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := session(t, cookieID+fmt.Sprintf(`, "ttl": "2h", "sliding": %t`, sliding))
			app.Put(t, "session:user:abc", `{}`) // lives 1h
			left := func() time.Duration {
				ttl, _, err := app.Cache().TTL(t.Context(), "session:user:abc")
				require.NoError(t, err)
				return ttl
			}
			require.Equal(t, http.StatusOK, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=abc")).Status)
			if !sliding {
				require.LessOrEqual(t, left(), time.Hour)
				return
			}
			require.Eventually(t, func() bool { return left() > 90*time.Minute }, 5*time.Second, time.Millisecond)
		})
	}
}

func TestSourceIsAskedOnceAndTheKeyHoldsNoCredential(t *testing.T) {
	t.Parallel()
	app := newUpstream(t)
	testapp, h := session(t, cookieID+`, "source": {"source": "http", "url": "`+app.url+`"}`)
	for i, want := range []string{"session_lookup; fwd=miss; stored", "session_lookup; hit; ttl="} {
		got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "other=1; session=good"))
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "good", got.Placeholder("http.auth.user.id"))
		require.Contains(t, got.Header().Get("Cache-Status"), want, i)
	}
	require.Equal(t, []string{"good"}, app.asked())
	keys, _, err := testapp.Cache().Store().Scan(t.Context(), "", "", 100)
	require.NoError(t, err)
	sum := sha256.Sum256([]byte("good"))
	require.Equal(t, []string{"session:user:" + hex.EncodeToString(sum[:])}, keys)

	require.Equal(t, http.StatusForbidden, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=denied")).Status)
	require.Equal(t, http.StatusUnauthorized, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=absent")).Status)
	got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=broken"))
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.NotContains(t, got.Err.Error(), "broken", "the identity is in the log")
}

// A login counts at once: what was not there a moment ago is asked for again.
func TestAbsencesOfSessionsAreNotRemembered(t *testing.T) {
	t.Parallel()
	app := newUpstream(t)
	_, h := session(t, cookieID+`, "source": {"source": "http", "url": "`+app.url+`"}`)
	for range 2 {
		require.Equal(t, http.StatusUnauthorized, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=absent")).Status)
	}
	require.Equal(t, []string{"absent", "absent"}, app.asked())
}

func TestAnswerOfTheSourceIsServedAsItIs(t *testing.T) {
	t.Parallel()
	app := newUpstream(t)
	_, h := session(t, cookieID+`, "source": {"source": "http", "url": "`+app.url+`"}, "on_missing": {"continue": true}`)
	for range 2 {
		got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=redirect"))
		require.Equal(t, http.StatusSeeOther, got.Status)
		require.False(t, got.Next)
		require.Equal(t, "/login", got.Header().Get("Location"))
		require.Equal(t, []string{"a=1", "b=2"}, got.Header().Values("Set-Cookie"))
	}
	require.Len(t, app.asked(), 2, "it was cached")
}

func TestClientThatLeavesIsNotAnError(t *testing.T) {
	t.Parallel()
	app := newUpstream(t)
	_, h := session(t, cookieID+`, "source": {"source": "http", "url": "`+app.url+`"}, "on_error": {"continue": true}`)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan lookuptest.Answer)
	go func() { done <- lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=slow").WithContext(ctx)) }()
	<-app.slow
	leave()
	got := <-done
	require.Equal(t, 499, got.Status, "Caddy logs it at debug level")
	require.ErrorIs(t, got.Err, context.Canceled)
	require.False(t, got.Next)
	app.slow <- struct{}{}
}

func TestSessionConfigErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, want string }{
		"no identity":                 {`"name": "a"`, "there is no identity"},
		"key without identity":        {cookieID + `, "key": "all"`, "has no {id}"},
		"key without text in front":   {cookieID + `, "key": "{id}"`, "has no text before the identity"},
		"two reactions":               {cookieID + `, "on_missing": {"status": 401, "continue": true}`, "on_missing: want exactly one of"},
		"no reaction":                 {cookieID + `, "on_denied": {}`, "on_denied: want exactly one of"},
		"status that is no error":     {cookieID + `, "on_error": {"status": 200}`, "on_error: status 200 is not an error"},
		"requirement without field":   {cookieID + `, "require": [{"values": ["a"]}]`, "require: '' is not the path of a field"},
		"requirement, empty value":    {cookieID + `, "require": [{"field": "role", "values": [""]}]`, "require role: a value is empty"},
		"requirement, empty variable": {cookieID + `, "require": [{"field": "role", "values": ["{env.NO_SUCH_VARIABLE}"]}]`, "require role: evaluated placeholder {env.NO_SUCH_VARIABLE} is empty"},
		"requirement of a request":    {cookieID + `, "require": [{"field": "role", "values": ["{http.request.host}"]}]`, "require role: unrecognized placeholder {http.request.host}"},
		"header without field":        {cookieID + `, "copy_headers": [{"header": "X-A"}]`, "copy_headers: '' is not the path of a field"},
		"header of the connection":    {cookieID + `, "copy_headers": [{"field": "a", "header": "connection"}]`, "Connection belongs to the message"},
		"source of files":             {cookieID + `, "source": {"source": "file_system", "root": "."}`, "source file_system finds files and no sessions"},
		"negative ttl":                {cookieID + `, "ttl": -1`, "ttl is -1ns, want at least 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, _ := lookuptest.NewApp(t, `{}`)
			_, err := lookuptest.NewHandler(ctx, "session_lookup", "{"+c.config+"}")
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestCacheStatusCanBeLeftOut(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{"quiet": true}`)
	h := sessionIn(t, ctx, cookieID)
	app.Put(t, "session:user:abc", `{}`)
	require.Empty(t, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=abc")).Header().Values("Cache-Status"))
}

// In Caddy itself: the order of handlers, handle_errors, and what gets logged.
func TestSessionInCaddy(t *testing.T) {
	upstream := newUpstream(t)
	log := filepath.Join(t.TempDir(), "log")
	url, app := lookuptest.RunCaddy(t, `log default {
		level DEBUG
		output file `+log+` {
			roll_disabled
		}
	}`, `log
	handle /source/* {
		session_lookup {cookie.session} {
			key asked:{id}
			source http `+upstream.url+`?id={id}
		}
		respond "source"
	}
	handle {
		session_lookup {cookie.session} {
			require role admin
			copy_headers user_id>X-User-Id
		}
		header >X-Outcome {http.session.outcome}
		respond "{header.X-User-Id} {http.session.name}"
	}
	handle_errors {
		respond "sorry: {err.status_code} {http.session.outcome}" {err.status_code}
	}`)
	fetch := func(path, cookie string) (int, string, http.Header) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		require.NoError(t, err)
		r.Header.Set("X-User-Id", "1")
		r.Header["X_user_id"] = []string{"1"}
		if cookie != "" {
			r.Header.Set("Cookie", "session="+cookie)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body), resp.Header
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	app.Put(t, "session:user:S3CRET-admin", `{"user_id": 7, "name": "Ada", "role": ["admin"]}`)
	app.Put(t, "session:user:S3CRET-user", `{"user_id": 8, "name": "Bob", "role": ["user"]}`)

	status, body, header := fetch("/", "S3CRET-admin")
	require.Equal(t, "200 7 Ada hit", fmt.Sprint(status, " ", body, " ", header.Get("X-Outcome")))
	status, body, _ = fetch("/", "S3CRET-user")
	require.Equal(t, "403 sorry: 403 denied", fmt.Sprint(status, " ", body))
	status, body, header = fetch("/", "S3CRET-unknown")
	require.Equal(t, "401 sorry: 401 absent", fmt.Sprint(status, " ", body))
	require.Equal(t, "session_lookup; fwd=miss; detail=absent", header.Get("Cache-Status"))
	status, body, _ = fetch("/", "")
	require.Equal(t, "401 sorry: 401 none", fmt.Sprint(status, " ", body))
	status, _, _ = fetch("/source/", "S3CRET-ok")
	require.Equal(t, 200, status)
	status, _, _ = fetch("/source/", "S3CRET-broken")
	require.Equal(t, 503, status)
	upstream.server.Close()
	status, _, _ = fetch("/source/", "S3CRET-not-answered")
	require.Equal(t, 503, status)

	var users []string
	var text []byte
	require.Eventually(t, func() bool {
		users = nil
		var err error
		text, err = os.ReadFile(log)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			var entry struct {
				Msg    string `json:"msg"`
				UserID string `json:"user_id"`
			}
			require.NoError(t, json.Unmarshal([]byte(line), &entry))
			if entry.Msg == "handled request" {
				users = append(users, entry.UserID)
			}
		}
		return len(users) == 7
	}, 5*time.Second, 5*time.Millisecond)
	require.Equal(t, "7", users[0], "access logs show the user")
	require.Equal(t, "", users[1], "a refused session has no user")
	require.Contains(t, string(text), "looked up session")
	require.False(t, strings.Contains(string(text), "S3CRET"), "an identity is in the log")
}

// upstream is an application that knows sessions by their cookie.
type upstream struct {
	url    string
	server *httptest.Server
	slow   chan struct{} // speaks when a slow request is there, then waits
	mu     sync.Mutex
	ids    []string
}

func newUpstream(t testing.TB) *upstream {
	u := &upstream{slow: make(chan struct{})}
	u.server = httptest.NewServer(u)
	t.Cleanup(u.server.Close)
	u.url = u.server.URL
	return u
}

// asked lists the identities the application was asked for.
func (u *upstream) asked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.ids)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("id")
	if cookie, err := r.Cookie("session"); err == nil {
		id = cookie.Value
	}
	u.mu.Lock()
	u.ids = append(u.ids, id)
	u.mu.Unlock()
	switch {
	case id == "denied":
		w.WriteHeader(http.StatusForbidden)
	case id == "absent":
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasSuffix(id, "broken"):
		w.WriteHeader(http.StatusInternalServerError)
	case id == "redirect":
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	default:
		if id == "slow" {
			u.slow <- struct{}{}
			<-u.slow
		}
		_, user, ok := strings.Cut(id, "-")
		if !ok {
			user = id
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"user_id": user})
	}
}
