package session

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

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
