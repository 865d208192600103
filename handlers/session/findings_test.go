package session

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
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
			app.Put(t, "session:user:abc", record)
			require.Equal(t, want, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=abc")).Placeholder("http.auth.user.id"))
		})
	}
}

func TestUserIsThatOfTheLastHandler(t *testing.T) {
	t.Parallel()
	app, h := session(t, cookieID)
	app.Put(t, "session:user:abc", `{"user_id": 7}`)
	alice := lookuptest.Middleware(func(_ http.ResponseWriter, r *http.Request) {
		r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", "alice")
	})
	for want, c := range map[string]lookuptest.Chain{"7": {alice, h}, "alice": {h, alice}} {
		require.Equal(t, want, lookuptest.Serve(c, lookuptest.Get("/", "Cookie", "session=abc")).Placeholder("http.auth.user.id"))
	}
}

// Nothing that a session has not may be left standing as {…} in the output.
func TestUserOfASessionWithoutOneIsEmpty(t *testing.T) {
	t.Parallel()
	app, h := session(t, cookieID+`, "on_missing": {"continue": true}`)
	app.Put(t, "session:user:abc", `{"role": "user"}`)
	for _, cookie := range []string{"session=abc", "session=none"} {
		user, known := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", cookie)).Request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Get("http.auth.user.id")
		require.True(t, known)
		require.Empty(t, user)
	}
}

func TestRefusedSessionPublishesNothingOfItsRecord(t *testing.T) {
	t.Parallel()
	app, h := session(t, cookieID+`, "require": [{"field": "role", "values": ["admin"]}],
		"copy_headers": [{"field": "user_id"}], "on_denied": {"continue": true}`)
	app.Put(t, "session:user:abc", `{"user_id": 7, "role": "user"}`)
	got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=abc", "User-Id", "1"))
	require.True(t, got.Next)
	require.Equal(t, "denied", got.Placeholder("http.session.outcome"))
	require.Equal(t, "abc", got.Placeholder("http.session.id"))
	require.Empty(t, got.Placeholder("http.session.user_id"))
	require.Empty(t, got.Placeholder("http.auth.user.id"))
	require.Empty(t, got.Request.Header.Values("User-Id"))
	require.Equal(t, "session_lookup; hit; ttl=1h; detail=denied", got.CacheStatus())
}

func TestLaterLookupReplacesWhatAnEarlierOnePublished(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	first := sessionIn(t, ctx, `"id": "{http.request.header.X-A}"`)
	second := sessionIn(t, ctx, `"id": "{http.request.header.X-B}", "on_missing": {"continue": true}`)
	app.Put(t, "session:user:a", `{"name": "Ada"}`)
	both := lookuptest.Chain{first, second}
	got := lookuptest.Serve(both, lookuptest.Get("/", "X-A", "a", "X-B", "b"))
	require.True(t, got.Next)
	require.Equal(t, "absent b ", got.Placeholder("http.session.outcome")+" "+got.Placeholder("http.session.id")+" "+got.Placeholder("http.session.name"))
	require.Len(t, got.Header().Values("Cache-Status"), 2)
}

func TestVariablesOfASiteHideNoLaterLookup(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	first := sessionIn(t, ctx, `"id": "{http.request.header.X-A}"`)
	second := sessionIn(t, ctx, `"id": "{http.request.header.X-B}", "require": [{"field": "role", "values": ["admin"]}], "on_denied": {"continue": true}`)
	app.Put(t, "session:user:a", `{"user_id": "alice", "role": "admin"}`)
	app.Put(t, "session:user:b", `{"user_id": "bob", "role": "none"}`)
	overwrite := lookuptest.Middleware(func(_ http.ResponseWriter, r *http.Request) {
		vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
		for name := range vars {
			vars[name] = "on"
		}
		vars["filewallball"] = "on"
	})
	got := lookuptest.Serve(lookuptest.Chain{first, overwrite, second}, lookuptest.Get("/", "X-A", "a", "X-B", "b"))
	require.Equal(t, "denied", got.Placeholder("http.session.outcome"))
	require.Empty(t, got.Placeholder("http.session.role"))
}
