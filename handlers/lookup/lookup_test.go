package lookup

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Two identities never share a key, and what is malformed has none.
func FuzzIdentityToKey(f *testing.F) {
	for _, seed := range [][2]string{{"a", "b"}, {"a:b", "a"}, {"*", "\\*"}, {"a\r\nb", "a"}, {"{id}", "{env.HOME}"}, {"\xff", "\u0085"}, {strings.Repeat("a", 513), strings.Repeat("a", 512)}} {
		f.Add(seed[0], seed[1], false)
		f.Add(seed[0], seed[1], true)
	}
	f.Fuzz(func(t *testing.T, a, b string, hash bool) {
		repl := caddy.NewReplacer()
		repl.Set("http.request.host", "example.com")
		for _, template := range []string{"session:user:{id}", "{http.request.host}:{id}:x", "{id}:{id}"} {
			l := Lookup{Key: template, HashID: &hash, policy: &Policy{KeyPrefix: "p:"}}
			require.NoError(t, l.provisionKey(cache.Family{}))
			keyOf := func(id string) string {
				req, err := l.Request(nil, repl, Identified{ID: id})
				if err != nil {
					require.ErrorIs(t, err, cache.ErrMalformedIdentity)
					require.Error(t, cache.CheckIdentity(id))
					return ""
				}
				require.Equal(t, id, req.ID)
				require.NoError(t, cache.CheckIdentity(req.Key), "the key is malformed")
				require.True(t, strings.HasPrefix(req.Key, "p:"))
				return req.Key
			}
			if keyOfA, keyOfB := keyOf(a), keyOf(b); a != b && keyOfA != "" && keyOfB != "" && len(a) <= 512 && len(b) <= 512 {
				require.NotEqual(t, keyOfA, keyOfB)
			}
		}
	})
}

// Placeholders in a redirect are client input: none can add a header or move
// a URL of this site to another host.
func FuzzRedirectStaysOnSite(f *testing.F) {
	for _, seed := range []string{"/a", "//evil.example", `/\evil.example`, "\t//evil.example", "a\r\nb", "https://evil.example", "\x00", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		repl := caddy.NewReplacer()
		repl.Set("value", value)
		for _, template := range []string{"/{value}", "/login{value}", "/login?to={value}"} {
			got := (&Reaction{Redirect: template}).location(repl)
			require.Regexp(t, `^/([!-~]*)$`, got)
			require.False(t, strings.HasPrefix(got, "//"), got)
			require.NotContains(t, got, `\`)
		}
	})
}

// What a pattern has found in a request is what the client has sent.
func TestRedirectThatBeginsWithAMatchStaysOnSite(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"https://evil.example/": "/https://evil.example/",
		"javascript:alert(1)":   "/javascript:alert(1)",
		"/a":                    "/a",
	} {
		repl := caddy.NewReplacer()
		repl.Set("http.regexp.go.1", value)
		require.Equal(t, want, (&Reaction{Redirect: "{http.regexp.go.1}"}).location(repl))
	}
}

// A session can be split over several cookies, each of which is bounded; other
// identities stay so themselves.
func TestWholeCookieHeaderMayBeLong(t *testing.T) {
	t.Parallel()
	cookie := strings.Repeat("x", 5000)
	two, twice := "a="+cookie+"; b="+cookie, cookie+cookie
	for _, test := range []struct {
		template, value string
		ok              bool
	}{
		{"{http.request.header.Cookie}", two, true},
		{"{http.request.header.cookie}", two, true},
		{"{http.request.header.Cookie}", "a=" + twice, false},
		{"{http.request.header.Cookie}", two + "; c=\x01", false},
		{"{http.request.header.Cookie}", strings.Repeat("a="+cookie+"; ", 8), false},
		{"{http.request.header.X-Session}", two, false},
		{"{http.request.cookie.a}", two, false},
	} {
		for _, parts := range [][]string{nil, {test.value, ""}} {
			i := NewIdentityReader(Identity{test.template, "{http.request.header.Authorization}"}, true)
			err := i.Check(Identified{ID: test.value, Parts: parts})
			require.Equal(t, test.ok, err == nil, "%s %.9s: %v", test.template, test.value, err)
			if err != nil {
				require.ErrorIs(t, err, cache.ErrMalformedIdentity)
			}
		}
	}
}
