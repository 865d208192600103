package handlers

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

func TestUserForAccessLogs(t *testing.T) {
	t.Parallel()
	for record, want := range map[string]string{
		`{"user_id": 7, "sub": "s", "id": "i"}`: "7",
		`{"sub": "s", "id": "i"}`:               "s",
		`{"id": "i"}`:                           "i",
		`{"id": "abc"}`:                         "", // the session's own id is a credential
		`{"user_id": "abc"}`:                    "abc",
		`{"user_id": ["a"], "sub": "s"}`:        "s",
		`{"user_id": {"a": 1}}`:                 "",
		`{"user_id": null, "id": "i"}`:          "i",
		`{"user_id": "", "id": "i"}`:            "i",
		`{}`:                                    "",
	} {
		t.Run(record, func(t *testing.T) {
			t.Parallel()
			app, h := session(t, cookieID)
			app.put(t, "session:user:abc", record)
			require.Equal(t, want, serve(h, get("/", "Cookie", "session=abc")).placeholder("http.auth.user.id"))
		})
	}
}

func TestUserIsWhomTheLastHandlerSays(t *testing.T) {
	t.Parallel()
	app, h := session(t, cookieID)
	app.put(t, "session:user:abc", `{"user_id": 7}`)
	alice := middleware(func(_ http.ResponseWriter, r *http.Request) {
		r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", "alice")
	})
	for want, c := range map[string]chain{"7": {alice, h}, "alice": {h, alice}} {
		require.Equal(t, want, serve(c, get("/", "Cookie", "session=abc")).placeholder("http.auth.user.id"))
	}
}

// middleware does something and goes on.
type middleware func(http.ResponseWriter, *http.Request)

func (m middleware) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	m(w, r)
	return next.ServeHTTP(w, r)
}

func TestRefusedSessionPublishesNothingOfItsRecord(t *testing.T) {
	t.Parallel()
	app, h := session(t, cookieID+`, "require": [{"field": "role", "values": ["admin"]}],
		"copy_headers": [{"field": "user_id"}], "on_denied": {"continue": true}`)
	app.put(t, "session:user:abc", `{"user_id": 7, "role": "user"}`)
	got := serve(h, get("/", "Cookie", "session=abc", "User-Id", "1"))
	require.True(t, got.Next)
	require.Equal(t, "denied", got.placeholder("http.session.outcome"))
	require.Equal(t, "abc", got.placeholder("http.session.id"))
	require.Empty(t, got.placeholder("http.session.user_id"))
	require.Empty(t, got.placeholder("http.auth.user.id"))
	require.Empty(t, got.Request.Header.Values("User-Id"))
	require.Equal(t, "session_lookup; hit; ttl=3599; detail=denied", got.Header().Get("Cache-Status"))
}

func TestLaterLookupReplacesWhatAnEarlierOnePublished(t *testing.T) {
	t.Parallel()
	ctx, app := newTestApp(t, `{}`)
	first := sessionIn(t, ctx, `"id": "{http.request.header.X-A}"`)
	second := sessionIn(t, ctx, `"id": "{http.request.header.X-B}", "on_missing": {"continue": true}`)
	app.put(t, "session:user:a", `{"name": "Ada"}`)
	both := chain{first, second}
	got := serve(both, get("/", "X-A", "a", "X-B", "b"))
	require.True(t, got.Next)
	require.Equal(t, "absent b ", got.placeholder("http.session.outcome")+" "+got.placeholder("http.session.id")+" "+got.placeholder("http.session.name"))
	require.Len(t, got.Header().Values("Cache-Status"), 2)
}

func TestVariablesOfASiteHideNoLaterLookup(t *testing.T) {
	t.Parallel()
	ctx, app := newTestApp(t, `{}`)
	first := sessionIn(t, ctx, `"id": "{http.request.header.X-A}"`)
	second := sessionIn(t, ctx, `"id": "{http.request.header.X-B}", "require": [{"field": "role", "values": ["admin"]}], "on_denied": {"continue": true}`)
	app.put(t, "session:user:a", `{"user_id": "alice", "role": "admin"}`)
	app.put(t, "session:user:b", `{"user_id": "bob", "role": "none"}`)
	overwrite := middleware(func(_ http.ResponseWriter, r *http.Request) {
		vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
		for name := range vars {
			vars[name] = "on"
		}
		vars["filewallball"] = "on"
	})
	got := serve(chain{first, overwrite, second}, get("/", "X-A", "a", "X-B", "b"))
	require.Equal(t, "denied", got.placeholder("http.session.outcome"))
	require.Empty(t, got.placeholder("http.session.role"))
}

type chain []caddyhttp.MiddlewareHandler

func (c chain) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if len(c) == 0 {
		return next.ServeHTTP(w, r)
	}
	return c[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return c[1:].ServeHTTP(w, r, next)
	}))
}
