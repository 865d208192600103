package session

import (
	"context"
	"fmt"
	"net/http"
	"strings"
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

func TestRedirectOnMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ template, target, want string }{
		"fixed":                     {"/login", "/a", "/login"},
		"absolute":                  {"https://login.example/?to={http.request.uri_escaped}", "/a?b=c&d=e", "https://login.example/?to=%2Fa%3Fb%3Dc%26d%3De"},
		"another host on purpose":   {"//login.example/", "/a", "//login.example/"},
		"host":                      {"https://{http.request.host}/login", "/a", "https://example.com/login"},
		"path of another host":      {"{http.request.uri.path}/login", "//evil.example", "/evil.example/login"},
		"backslash":                 {"{http.request.uri.path}/login", `/%5Cevil.example`, "/evil.example/login"},
		"backslash after slash":     {"/{http.request.uri.path.0}", `/%5Cevil.example`, "/evil.example"},
		"line break":                {"/login?to={http.request.uri.path}", "/a%0d%0aSet-Cookie:x=1", "/login?to=%2Fa%0D%0ASet-Cookie%3Ax%3D1"},
		"tab to hide a slash":       {"/{http.request.uri.path.0}/{http.request.uri.path.1}", "/%09/evil.example", "/%09/evil.example"},
		"not ASCII":                 {"/login?to={http.request.uri.path}", "/%C3%A9", "/login?to=%2F%C3%A9"},
		"escapes in the template":   {"/log%20in", "/a", "/log%20in"},
		"unknown is nothing":        {"/login{http.no.such}", "/a", "/login"},
		"URI behind a host":         {"https://login.example{http.request.uri}", "//evil.example/a?b=c", "https://login.example//evil.example/a?b=c"},
		"URI behind both":           {"https://{http.request.hostport}{http.request.uri}", "/a?b=c", "https://example.com/a?b=c"},
		"URI behind no host":        {"https://{http.no.such}{http.request.uri}", "/evil.example", "https://"},
		"scheme":                    {"{http.request.scheme}://{http.request.host}/a", "/a", "http://example.com/a"},
		"a URL behind the ?":        {"/login?to=https://{http.request.host}{http.request.uri}", "/a?b=c&admin=1", "/login?to=https://example.com%2Fa%3Fb%3Dc%26admin%3D1"},
		"a parameter of a URL":      {"/login?to=https://{http.request.host}/{http.request.uri.query.q}", "/?q=a%26admin=1", "/login?to=https://example.com/a%26admin%3D1"},
		"a URL behind host and ?":   {"https://{http.request.host}?to=https://{http.request.uri.path}", "/a%26admin=1", "https://example.com?to=https://%2Fa%26admin%3D1"},
		"a URL behind the #":        {"#https://{http.request.uri.query.q}", "/?q=a/b", "#https://a%2Fb"},
		"slashes behind the host":   {"https://{http.request.host}//{http.request.uri.path.0}", "/a%3Fb", "https://example.com//a%3Fb"},
		"a parameter alone":         {"{http.request.uri.query.q}", "/a?q=https://evil.example/", "/https://evil.example/"},
		"a parameter, a script":     {"{http.request.uri.query.q}", "/a?q=javascript:alert(1)", "/javascript:alert(1)"},
		"a parameter, a path":       {"{http.request.uri.query.q}", "/a?q=/b", "/b"},
		"a parameter, another site": {"{http.request.uri.query.q}", "/a?q=%5C/evil.example", "/evil.example"},
		"a segment alone":           {"{http.request.uri.path.0}/login", "/javascript:alert(1)", "/javascript:alert(1)/login"},
		"name that ends escaped":    {"/login?to={http.request.uri.query.q_escaped}", "/a?q_escaped=b%26admin=1", "/login?to=b%26admin%3D1"},
		"subdomain":                 {"https://{http.request.uri.path.0}.example/", "/a", "https://a.example/"},
		"subdomain, another host":   {"https://{http.request.uri.path.0}.example/", "/evil.test%23", "https://.example/"},
		"what clients say is text":  {"/login?to={http.request.uri.query.q}", "/a?q={http.request.host}", "/login?to=%7Bhttp.request.host%7D"},
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

// upstream is an application that knows sessions by their cookie.
