package invalidate_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/filewallball/caddy-filewallball/handlers/invalidate"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// stripping changes the request in place, as handle_path and uri do.
func stripping(prefix string) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		r.URL.Path = strings.TrimPrefix(r.URL.Path, prefix)
		r.RequestURI = r.URL.RequestURI()
		return answering(200)(w, r)
	}
}

// What is to be dropped is named by the request as the client sent it, however
// the handlers behind change it.
func TestARewriteDoesNotChangeWhatIsDropped(t *testing.T) {
	for name, config := range map[string]string{
		"tag":            `{"tags": ["user:{http.request.uri.path.2}"]}`,
		"key":            `{"keys": ["session:user:{http.request.uri.path.2}"]}`,
		"tag, half late": `{"tags": ["{http.request.uri.path.1}:{http.session.kind}:{http.request.uri.path.2}"]}`,
		"key, half late": `{"keys": ["session:{http.session.kind}:{http.request.uri.path.2}"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.app.Fill(t, "app:session:user:1", `{"user_id":"1"}`, "user:1", "user:user:1")
			s.app.Fill(t, "app:session:user:profile", `{"user_id":"9"}`, "user:profile", "a:user:profile")
			s.app.Put(t, "app:session:user:k", `{"kind":"user"}`)
			session := s.handler(t, "session_lookup", `{"id": "{http.request.cookie.session}", "on_missing": {"continue": true}}`)
			h := s.handler(t, "lookup_invalidate", config)
			r := httptest.NewRequest("DELETE", "/api/user/1/a/profile", nil)
			r.AddCookie(&http.Cookie{Name: "session", Value: "k"})
			_, err := serve(h, r, func(w http.ResponseWriter, r *http.Request) error {
				return session.ServeHTTP(w, r, stripping("/api/user"))
			})
			require.NoError(t, err)
			require.False(t, s.has(t, "app:session:user:1"), "what the client named is still there")
			require.True(t, s.has(t, "app:session:user:profile"), "a record that no request named was dropped")
		})
	}
}

// A value that only a handler behind gives is known when it has answered.
func TestWhatWasEmptyBeforeIsTakenFromTheAnswer(t *testing.T) {
	s := newSite(t)
	session := s.handler(t, "session_lookup", `{"id": "{http.request.cookie.session}"}`)
	s.app.Put(t, "app:of:2", `{}`)
	h := s.handler(t, "lookup_invalidate", `{"keys": ["of:{http.session.user_id}"], "tags": ["user:{http.vars.late}"]}`)
	r := httptest.NewRequest("POST", "/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: "b"})
	_, err := serve(h, r, func(w http.ResponseWriter, r *http.Request) error {
		return session.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			caddyhttp.SetVar(r.Context(), "late", "1")
			return answering(200)(w, r)
		}))
	})
	require.NoError(t, err)
	require.False(t, s.has(t, "app:of:2"))
	require.False(t, s.has(t, "app:session:user:a"), "it bears the tag")
}

func TestATagWithAnEmptyPlaceholderDropsNothingAndIsWarnedOf(t *testing.T) {
	s := newSite(t)
	s.app.Fill(t, "app:session:user:c", `{"user_id":"1"}`, "user:s3cret:")
	s.app.Fill(t, "app:session:user:d", `{"user_id":"1"}`, "user:s3cret")
	h := s.handler(t, "lookup_invalidate", `{"tags": ["user:{http.request.header.User}:{http.session.user_id}", "user:{http.request.header.User}"]}`)
	core, logs := observer.New(zapcore.WarnLevel)
	h.(*invalidate.Handler).SetLogger(zap.New(core))
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set("User", "s3cret")
	w, err := serve(h, r, answering(200))
	require.NoError(t, err)
	require.Equal(t, 200, w.Code)
	require.True(t, s.has(t, "app:session:user:c"))
	require.False(t, s.has(t, "app:session:user:d"))
	require.Equal(t, 1, logs.Len(), "the other tag was dropped")
	entry := logs.All()[0]
	require.Equal(t, "user:{http.request.header.User}:{http.session.user_id}", entry.ContextMap()["tag"])
	require.Equal(t, []any{"http.session.user_id"}, entry.ContextMap()["empty"])
	require.NotContains(t, fmt.Sprint(entry), "s3cret")
}

// What a source is asked beside the identity may be set by handlers behind.
func TestTheKeyOfALookupHasWhatItsSourceIsAskedThen(t *testing.T) {
	s := newSite(t)
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"user_id": "1"}`))
	}))
	defer application.Close()
	session := s.handler(t, "session_lookup", `{"id": "{http.request.cookie.s}", "source": {"source": "http", "url": "`+
		application.URL+`/{http.request.header.Tenant}"}}`)
	h := s.handler(t, "lookup_invalidate", `{"keys": ["session:user:{http.request.cookie.s}"]}`)
	key := ""
	for _, before := range []string{"", "theirs"} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Tenant", before)
		r.AddCookie(&http.Cookie{Name: "s", Value: "x"})
		_, err := serve(h, r, func(w http.ResponseWriter, r *http.Request) error {
			r.Header.Set("Tenant", "ours")
			return session.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				key = lookup.FindingsOf(r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)).Session.Key
				require.True(t, s.has(t, key))
				return answering(200)(w, r)
			}))
		})
		require.NoError(t, err)
		require.NotEmpty(t, key)
		require.False(t, s.has(t, key), "the session is there after its logout")
	}
}

func TestPlaceholdersAreReadAsLookupsReadThem(t *testing.T) {
	s := newSite(t)
	for _, key := range []string{"app:of:a=1; b=2", "app:cert:", "app:cert:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"} {
		s.app.Put(t, key, `{}`)
	}
	h := s.handler(t, "lookup_invalidate", `{"keys": ["of:{http.request.header.Cookie}", "cert:{http.request.tls.client.fingerprint}"]}`)
	r := httptest.NewRequest("POST", "/", nil)
	r.Header["Cookie"] = []string{"a=1", "b=2"}
	r.TLS = new(tls.ConnectionState)
	_, err := serve(h, r, answering(200))
	require.NoError(t, err)
	require.False(t, s.has(t, "app:of:a=1; b=2"))
	require.True(t, s.has(t, "app:cert:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "the client has no certificate")
}
