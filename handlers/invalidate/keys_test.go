package invalidate_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// A logout drops the session of every identity that a lookup accepts, in
// whatever form its key has.
func TestAWrittenKeyIsTheOneThatLookupsUse(t *testing.T) {
	t.Setenv("FWB_APP", "{shop}")
	ids := map[string]string{"short": "z", "hash of another": "sha256:" + strings.Repeat("0", 64), "colon": "a:b", "percent": "a%3Ab"}
	for _, length := range []int{511, 512, 513, cache.MaxIdentity} {
		ids[fmt.Sprintf("%d bytes", length)] = strings.Repeat("i", length)
	}
	for name, config := range map[string]struct {
		lookup string
		keys   string // in lookup_invalidate
		only   string // the one identity that it is about
	}{
		"as the lookup has it":      {`"id": "{http.request.cookie.s}"`, `"session:user:{http.request.cookie.s}", "other:{http.request.cookie.s}"`, ""},
		"by another name":           {`"id": "{http.request.cookie.s}"`, `"session:user:{http.request.uri.query.s}"`, ""},
		"{session}":                 {`"id": "{http.request.cookie.s}"`, `"{session}"`, ""},
		"key of its own":            {`"id": "{http.request.cookie.s}", "key": "s:{id}:x"`, `"s:{http.request.uri.query.s}:x"`, ""},
		"request in the key":        {`"id": "{http.request.cookie.s}", "key": "s:{http.request.hostport}:{id}"`, `"s:{http.request.hostport}:{http.request.cookie.s}"`, ""},
		"two parts":                 {`"id": ["{http.request.cookie.s}", "{http.request.hostport}"]`, `"session:user:{http.request.cookie.s}:{http.request.hostport}"`, ""},
		"two parts, each by itself": {`"id": ["{http.request.cookie.s}", "{http.request.hostport}"], "key": "s:{id.2}:{id.1}"`, `"s:{http.request.hostport}:{http.request.cookie.s}"`, ""},
		"environment in both":       {`"id": "{http.request.cookie.s}", "key": "{env.FWB_APP}:s:{id}"`, `"{env.FWB_APP}:s:{http.request.uri.query.s}"`, ""},
		"environment in the lookup": {`"id": "{http.request.cookie.s}", "key": "{env.FWB_APP}:s:{id}:{system.os}"`, `"\\{shop\\}:s:{http.request.uri.query.s}:` + runtime.GOOS + `"`, ""},
		"environment in the key":    {`"id": "{http.request.cookie.s}", "key": "\\{shop\\}:s:{id}"`, `"{env.FWB_APP}:s:{http.request.uri.query.s}"`, ""},
		"environment, two parts":    {`"id": ["{http.request.cookie.s}", "{http.request.hostport}"], "key": "{env.FWB_APP}:{id.2}:{id.1}"`, `"\\{shop\\}:{http.request.hostport}:{http.request.cookie.s}"`, ""},
		"a header that is copied":   {`"id": "{http.request.header.S}", "copy_headers": [{"field": "user_id", "header": "S"}]`, `"session:user:{http.request.header.S}"`, ""},
		"written out":               {`"id": "{http.request.cookie.s}"`, `"session:user:` + ids["513 bytes"] + `"`, ids["513 bytes"]},
	} {
		for _, hashed := range []string{"true", "false"} {
			for kind, id := range ids {
				if config.only != "" && id != config.only {
					continue
				}
				t.Run(name+", hash_id "+hashed+", "+kind, func(t *testing.T) {
					s := newSite(t)
					session := s.handler(t, "session_lookup", `{`+config.lookup+`, "hash_id": `+hashed+`, "on_missing": {"continue": true}}`)
					h := s.handler(t, "lookup_invalidate", `{"keys": [`+config.keys+`]}`)
					ask := func() *http.Request {
						r := httptest.NewRequest("POST", "http://example.com:8080/logout?s="+url.QueryEscape(id), nil)
						r.AddCookie(&http.Cookie{Name: "s", Value: id})
						r.Header.Set("S", id)
						return r
					}
					found := func() lookup.Found {
						answer := lookuptest.Serve(session, ask())
						require.True(t, answer.Next)
						return lookup.FindingsOf(answer.Request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)).Session
					}
					absent := found()
					require.Equal(t, cache.OutcomeAbsent, absent.Outcome)
					s.app.Put(t, absent.Key, `{"user_id": "1"}`)
					require.Equal(t, cache.OutcomeHit, found().Outcome)
					w, err := serve(h, ask(), func(w http.ResponseWriter, r *http.Request) error {
						return session.ServeHTTP(w, r, answering(200))
					})
					require.NoError(t, err)
					require.Equal(t, 200, w.Code)
					require.Equal(t, cache.OutcomeAbsent, found().Outcome, "the session is there after its logout")
				})
			}
		}
	}
}
