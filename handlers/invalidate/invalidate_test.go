package invalidate_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/invalidate"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
	"github.com/filewallball/caddy-filewallball/handlers/session"
	httpsource "github.com/filewallball/caddy-filewallball/handlers/source/http"
)

func TestMain(m *testing.M) {
	caddy.RegisterModule(new(lookuptest.App))
	caddy.RegisterModule(invalidate.Handler{})
	caddy.RegisterModule(session.Handler{})
	caddy.RegisterModule(httpsource.Source{})
	m.Run()
}

// site is an app with two sessions, of which the first bears a tag.
type site struct {
	ctx   caddy.Context
	app   *lookuptest.App
	store *lookuptest.Refusing
}

func newSite(t *testing.T) *site {
	t.Helper()
	ctx, app := lookuptest.NewApp(t, `{"key_prefix": "app:"}`)
	records, err := memory.New(memory.Options{})
	require.NoError(t, err)
	s := &site{ctx, app, &lookuptest.Refusing{Store: records}}
	app.Use(t, s.store)
	app.Fill(t, "app:session:user:a", `{"user_id":"1"}`, "user:1")
	app.Put(t, "app:session:user:b", `{"user_id":"2"}`)
	return s
}

func (s *site) handler(t *testing.T, module, config string) caddyhttp.MiddlewareHandler {
	t.Helper()
	h, err := lookuptest.NewHandler(s.ctx, module, config)
	require.NoError(t, err)
	return h
}

func (s *site) has(t *testing.T, key string) bool {
	t.Helper()
	entry, err := s.app.Cache().Store().Get(t.Context(), key)
	require.NoError(t, err)
	return entry.Record != nil
}

// serve lets the handler answer before next.
func serve(h caddyhttp.MiddlewareHandler, r *http.Request, next caddyhttp.HandlerFunc) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	w.Header().Set("X-Before", "1")
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	return w, h.ServeHTTP(w, r, next)
}

func answering(status int) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Set-Cookie", "session=")
		w.WriteHeader(status)
		if status == http.StatusNoContent || status == http.StatusNotModified {
			return nil
		}
		_, err := io.WriteString(w, "logged out")
		return err
	}
}

func TestRecordsAreDroppedOnceTheNextHandlerHasSucceeded(t *testing.T) {
	for status, dropped := range map[int]bool{200: true, 204: true, 302: true, 304: true, 400: false, 500: false} {
		s := newSite(t)
		h := s.handler(t, "lookup_invalidate", `{"keys": ["session:user:b"], "tags": ["user:{http.request.header.User}"]}`)
		r := httptest.NewRequest("POST", "/logout", nil)
		r.Header.Set("User", "1")
		w, err := serve(h, r, func(w http.ResponseWriter, r *http.Request) error {
			require.True(t, s.has(t, "app:session:user:a"))
			return answering(status)(w, r)
		})
		require.NoError(t, err)
		require.Equal(t, status, w.Code)
		require.Equal(t, !dropped, s.has(t, "app:session:user:a"), status)
		require.Equal(t, !dropped, s.has(t, "app:session:user:b"), status)
	}
}

func TestAnswerIsHeldBackUntilRecordsAreDropped(t *testing.T) {
	nexts := map[string]caddyhttp.HandlerFunc{
		"write header": answering(200),
		"write":        func(w http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(w, "x"); return err },
		"read from": func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.Copy(w, strings.NewReader("x"))
			return err
		},
		"flush": func(w http.ResponseWriter, _ *http.Request) error {
			return errors.Join(http.NewResponseController(w).Flush(), answering(200)(w, nil))
		},
		"nothing": func(http.ResponseWriter, *http.Request) error { return nil },
	}
	for name, next := range nexts {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.store.Refuse.Store(true)
			h := s.handler(t, "lookup_invalidate", `{"keys": ["session:user:a"]}`)
			w, err := serve(h, httptest.NewRequest("POST", "/logout", nil), next)
			var failed caddyhttp.HandlerError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, http.StatusServiceUnavailable, failed.StatusCode)
			require.ErrorIs(t, err, cache.ErrUnavailable)
			require.NotContains(t, err.Error(), "user:a", "no key is told")
			require.Empty(t, w.Body.String())
			require.False(t, w.Flushed)
			require.Equal(t, http.Header{"X-Before": {"1"}}, w.Header())
			require.Equal(t, 1, s.app.Cache().Pending().Total())

			s.store.Refuse.Store(false)
			require.Eventually(t, func() bool { return s.app.Cache().Pending().Total() == 0 }, 10*time.Second, time.Millisecond)
			require.False(t, s.has(t, "app:session:user:a"))
		})
	}
}

func TestFailureOfManyHasItsReasonOnce(t *testing.T) {
	s := newSite(t)
	s.store.Refuse.Store(true)
	h := s.handler(t, "lookup_invalidate", `{"keys": ["session:user:a", "session:user:b"], "tags": ["user:1", "user:2"]}`)
	_, err := serve(h, httptest.NewRequest("POST", "/logout", nil), answering(200))
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.Equal(t, 1, strings.Count(err.Error(), cache.ErrUnavailable.Error()), err.Error())
	require.Contains(t, err.Error(), "4 invalidations are pending")
}

func TestOnErrorIsTheAnswerOfAFailure(t *testing.T) {
	for config, status := range map[string]int{`{"status": 500}`: 500, `{"continue": true}`: 0} {
		s := newSite(t)
		s.store.Refuse.Store(true)
		h := s.handler(t, "lookup_invalidate", `{"tags": ["user:1"], "on_error": `+config+`}`)
		w, err := serve(h, httptest.NewRequest("POST", "/", nil), answering(201))
		if status == 0 {
			require.NoError(t, err)
			require.Equal(t, 201, w.Code)
			require.Equal(t, "logged out", w.Body.String())
		} else {
			var failed caddyhttp.HandlerError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, status, failed.StatusCode)
		}
		lookup := s.handler(t, "session_lookup", `{"id": "{http.request.cookie.session}"}`)
		require.Equal(t, 503, withSession(lookup, "a").Status, "the session is let in while its invalidation is pending")
		require.Equal(t, 200, withSession(lookup, "b").Status)
	}
}

func withSession(h caddyhttp.MiddlewareHandler, id string) lookuptest.Answer {
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: id})
	return lookuptest.Serve(h, r)
}

func TestSessionKeyIsThatOfTheSessionLookup(t *testing.T) {
	for name, hashed := range map[string]string{"plain": "false", "hashed": "true"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			key := "app:session:user:" + cache.KeyIdentity("a", hashed == "true")
			s.app.Put(t, key, `{"user_id":"1"}`)
			lookup := s.handler(t, "session_lookup", `{"id": "{http.request.cookie.session}", "hash_id": `+hashed+`, "on_missing": {"continue": true}}`)
			h := s.handler(t, "lookup_invalidate", `{"keys": ["{session}"]}`)
			logout := func(id string) (*httptest.ResponseRecorder, error) {
				r := httptest.NewRequest("POST", "/logout", nil)
				if id != "" {
					r.AddCookie(&http.Cookie{Name: "session", Value: id})
				}
				return serve(h, r, func(w http.ResponseWriter, r *http.Request) error {
					return lookup.ServeHTTP(w, r, answering(200))
				})
			}
			_, err := logout("")
			require.NoError(t, err, "no session, nothing to drop")
			require.True(t, s.has(t, key))
			_, err = logout("a")
			require.NoError(t, err)
			require.False(t, s.has(t, key))
			require.True(t, s.has(t, "app:session:user:b"))
		})
	}
}

func TestKeysThatNoRecordHasAreNoErrorAndMalformedOnesAreRefused(t *testing.T) {
	s := newSite(t)
	h := s.handler(t, "lookup_invalidate", `{"keys": ["{http.request.header.Key}"], "tags": ["{http.request.header.Tag}"]}`)
	for key, status := range map[string]int{
		"": 0, "fwb:tag:{user:1}": 0, "a\x01": http.StatusBadRequest, "\xff": http.StatusBadRequest,
		strings.Repeat("x", cache.MaxIdentity+1): http.StatusBadRequest,
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header["Key"], r.Header["Tag"] = []string{key}, []string{key}
		_, err := serve(h, r, answering(200))
		var refused caddyhttp.HandlerError
		require.Equal(t, status != 0, errors.As(err, &refused))
		require.Equal(t, status, refused.StatusCode)
	}
	require.True(t, s.has(t, "app:session:user:a"))
}

func TestDirective(t *testing.T) {
	for input, want := range map[string]string{
		"lookup_invalidate":                                         "takes a key like {session}",
		"lookup_invalidate {\n}":                                    "takes a key like {session}",
		"lookup_invalidate a {\ntag\n}":                             "tag takes one template or more",
		"lookup_invalidate a {\nkey b\n}":                           "lookup_invalidate takes tag and on_error",
		"lookup_invalidate a {\non_error\n}":                        "on_error takes one argument",
		"lookup_invalidate a {\non_error 200\n}":                    "want an HTTP status from 400 to 599, or continue",
		"lookup_invalidate a {\non_error redirect /x\n}":            "on_error takes one argument",
		"lookup_invalidate a {\non_error 503\non_error continue\n}": "on_error is given twice",
	} {
		err := new(invalidate.Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		require.ErrorContains(t, err, want, input)
	}
	h := new(invalidate.Handler)
	require.NoError(t, h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(
		"lookup_invalidate {session} file:{path} {\ntag a b\ntag c\non_error continue\n}")))
	require.Equal(t, []string{"{session}", "file:{path}"}, h.Keys)
	require.Equal(t, []string{"a", "b", "c"}, h.Tags)
	require.Equal(t, &lookup.Reaction{Continue: true}, h.OnError)

	s := newSite(t)
	for _, config := range []string{`{}`, `{"keys": ["a"], "on_error": {}}`, `{"keys": ["a"], "on_error": {"status": 200}}`,
		`{"keys": ["a"], "on_error": {"redirect": "/"}}`, `{"keys": ["a"], "on_error": {"status": 503, "continue": true}}`} {
		_, err := lookuptest.NewHandler(s.ctx, "lookup_invalidate", config)
		require.Error(t, err, config)
	}
}
