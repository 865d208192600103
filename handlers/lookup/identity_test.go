package lookup

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// A part of an identity is empty where all its placeholders are, whatever text is
// around them.
func TestTextAloneIsNoIdentity(t *testing.T) {
	t.Setenv("TEST_TENANT", "t1")
	for _, c := range []struct {
		id             Identity
		cookie, header string
		want           string
	}{
		{Identity{"{http.request.cookie.a}x"}, "", "", ""},
		{Identity{"{http.request.cookie.a}x"}, "1", "", "1x"},
		{Identity{"x:{http.request.cookie.a}:{http.request.header.B}"}, "", "", ""},
		{Identity{"x:{http.request.cookie.a}:{http.request.header.B}"}, "", "2", "x::2"},
		{Identity{"{env.TEST_TENANT}:{http.request.cookie.a}"}, "", "", ""},
		{Identity{"{env.TEST_TENANT}:{http.request.cookie.a}"}, "1", "", "t1:1"},
		{Identity{`\{{http.request.cookie.a}`}, "", "", ""},
		{Identity{"u{http.request.cookie.a}", "v{http.request.header.B}"}, "", "", ""},
		{Identity{"u{http.request.cookie.a}", "v{http.request.header.B}"}, "1", "", "u1:"},
		{Identity{"a text"}, "", "", "a text"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", "a="+c.cookie)
		r.Header.Set("B", c.header)
		repl := caddy.NewReplacer()
		r = caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), nil)
		require.Equal(t, c.want, NewIdentityReader(c.id, true).Of(r, repl).ID, "%v %q %q", c.id, c.cookie, c.header)
	}
}

// An identity cannot name one of the plugin's own keys, however little text is
// before it.
func TestIdentitiesReachNoKeyOfThePlugin(t *testing.T) {
	t.Parallel()
	for template, id := range map[string]string{"{id}": "fwb:tag:a", "f{id}": "wb:tag:a", "fwb{id}": ":tag:a", "{id}x": "fwb:"} {
		l := Lookup{Key: template, policy: &Policy{KeyPrefix: "p:"}}
		require.NoError(t, l.provisionKey(cache.Family{}), template)
		_, err := l.Request(nil, caddy.NewReplacer(), Identified{ID: id})
		require.ErrorIs(t, err, cache.ErrMalformedIdentity, template)
		_, err = l.Request(nil, caddy.NewReplacer(), Identified{ID: "a"})
		require.NoError(t, err, template)
	}
}
