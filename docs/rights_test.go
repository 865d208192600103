// The rights that the docs give the Redis user are enough for everything.
package docs_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestRightsOfTheDocsAreEnough(t *testing.T) {
	page, err := os.ReadFile("operations.md")
	require.NoError(t, err)
	rule := regexp.MustCompile("(?s)```\nuser caddy (on .*?)\n```").FindStringSubmatch(string(page))
	require.NotNil(t, rule)
	p := newPlace(t)
	p.redis = redistest.Start(t)
	p.application = startApplication(t)
	args := []any{"ACL", "SETUSER", "caddy"}
	for _, word := range strings.Fields(strings.ReplaceAll(rule[1], "<key_prefix>", "app:")) {
		args = append(args, word)
	}
	require.NoError(t, p.redis.Client().Do(t.Context(), args...).Err())
	p.serve(t, `{
	filewallball {
		redis localhost:6379 {
			username caddy
			password password
		}
		key_prefix app:
		alert {
			latency_above 10s
		}
	}
}

:8080 {
	route {
		session_lookup {cookie.session} {
			source http http://localhost:8000/session
			sliding
			tag user:{http.session.user_id}
		}
		upload_progress /upload {cookie.session}
		upload_progress_report /progress {cookie.session}
		lookup_invalidate /logout {
			tag user:{http.session.user_id}
		}
		respond "hello {http.session.user_id}"
	}
}
`)
	s := sitetest.Site{Page: p.site, Admin: p.admin}
	require.Eventually(t, func() bool {
		var stats struct{ Near struct{ Coherent bool } }
		require.NoError(t, json.Unmarshal([]byte(s.API(t, http.MethodGet, "stats", "").Body), &stats))
		return stats.Near.Coherent
	}, 10*time.Second, 10*time.Millisecond, "near copies are not trusted")
	for _, path := range []string{"/", "/", "/logout", "/"} {
		require.Equal(t, "hello 42", s.Get(t, path, "Cookie", "session=s3cret").Body, path)
	}
	put := sitetest.Request(t, http.MethodPut, "http://"+p.site+"/upload", "a body", "Cookie", "session=s3cret")
	require.Equal(t, http.StatusOK, put.Status)
	require.Eventually(t, func() bool {
		return strings.Contains(s.Get(t, "/progress", "Cookie", "session=s3cret").Body, `"done"`)
	}, 10*time.Second, 10*time.Millisecond)

	for _, c := range []struct{ method, endpoint, body string }{
		{http.MethodGet, "health", ""},
		{http.MethodGet, "info", ""},
		{http.MethodPut, "keys/app:session:user:a?ttl=1h", "{}"},
		{http.MethodGet, "keys/app:session:user:a", ""},
		{http.MethodGet, "keys?prefix=app:", ""},
		{http.MethodGet, "backup?tags=true", ""},
		{http.MethodPost, "restore?overwrite=true", `{"key":"app:session:user:b","ttl_ms":60000,"value":{}}`},
		{http.MethodDelete, "keys/app:session:user:a", ""},
		{http.MethodPost, "purge", `{"tag": "user:42"}`},
		{http.MethodPost, "purge", `{"prefix": "app:session:"}`},
		{http.MethodPost, "bench", `{"count": 10}`},
	} {
		a := s.API(t, c.method, c.endpoint, c.body)
		require.Less(t, a.Status, 300, "%s %s: %s", c.method, c.endpoint, a.Body)
		require.NotContains(t, a.Body, `"status":"warn"`)
		require.NotContains(t, a.Body, `"failed":1`)
	}
	denied, err := p.redis.Client().ACLLog(t.Context(), 10).Result()
	require.NoError(t, err)
	require.Empty(t, denied, "commands that the rights do not allow")
}
