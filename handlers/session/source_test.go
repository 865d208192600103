package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestSourceIsAskedOnceAndTheKeyHoldsNoCredential(t *testing.T) {
	t.Parallel()
	app := newUpstream(t)
	testapp, h := session(t, cookieID+`, "source": {"source": "http", "url": "`+app.url+`"}`)
	for i, want := range []string{"session_lookup; fwd=miss; stored", "session_lookup; hit; ttl="} {
		got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "other=1; session=good"))
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "good", got.Placeholder("http.auth.user.id"))
		require.Contains(t, got.Header().Get("Cache-Status"), want, i)
	}
	require.Equal(t, []string{"good"}, app.asked())
	keys, _, err := testapp.Cache().Store().Scan(t.Context(), "", "", 100)
	require.NoError(t, err)
	sum := sha256.Sum256([]byte("good"))
	require.Equal(t, []string{"session:user:" + hex.EncodeToString(sum[:])}, keys)

	require.Equal(t, http.StatusForbidden, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=denied")).Status)
	require.Equal(t, http.StatusUnauthorized, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=absent")).Status)
	got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=broken"))
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.NotContains(t, got.Err.Error(), "broken", "the identity is in the log")
}

// A login counts at once: what was not there a moment ago is asked for again.
func TestAbsencesOfSessionsAreNotRemembered(t *testing.T) {
	t.Parallel()
	app := newUpstream(t)
	_, h := session(t, cookieID+`, "source": {"source": "http", "url": "`+app.url+`"}`)
	for range 2 {
		require.Equal(t, http.StatusUnauthorized, lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=absent")).Status)
	}
	require.Equal(t, []string{"absent", "absent"}, app.asked())
}

func TestAnswerOfTheSourceIsServedAsItIs(t *testing.T) {
	t.Parallel()
	app := newUpstream(t)
	_, h := session(t, cookieID+`, "source": {"source": "http", "url": "`+app.url+`"}, "on_missing": {"continue": true}`)
	for range 2 {
		got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=redirect"))
		require.Equal(t, http.StatusSeeOther, got.Status)
		require.False(t, got.Next)
		require.Equal(t, "/login", got.Header().Get("Location"))
		require.Equal(t, []string{"a=1", "b=2"}, got.Header().Values("Set-Cookie"))
	}
	require.Len(t, app.asked(), 2, "it was cached")
}

func TestClientThatLeavesIsNotAnError(t *testing.T) {
	t.Parallel()
	app := newUpstream(t)
	_, h := session(t, cookieID+`, "source": {"source": "http", "url": "`+app.url+`"}, "on_error": {"continue": true}`)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan lookuptest.Answer)
	go func() { done <- lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=slow").WithContext(ctx)) }()
	<-app.slow
	leave()
	got := <-done
	require.Equal(t, 499, got.Status, "Caddy logs it at debug level")
	require.ErrorIs(t, got.Err, context.Canceled)
	require.False(t, got.Next)
	app.slow <- struct{}{}
}

type upstream struct {
	url    string
	server *httptest.Server
	slow   chan struct{} // speaks when a slow request is there, then waits
	mu     sync.Mutex
	ids    []string
}

func newUpstream(t testing.TB) *upstream {
	u := &upstream{slow: make(chan struct{})}
	u.server = httptest.NewServer(u)
	t.Cleanup(u.server.Close)
	u.url = u.server.URL
	return u
}

// asked lists the identities the application was asked for.
func (u *upstream) asked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.ids)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("id")
	if cookie, err := r.Cookie("session"); err == nil {
		id = cookie.Value
	}
	u.mu.Lock()
	u.ids = append(u.ids, id)
	u.mu.Unlock()
	switch {
	case id == "denied":
		w.WriteHeader(http.StatusForbidden)
	case id == "absent":
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasSuffix(id, "broken"):
		w.WriteHeader(http.StatusInternalServerError)
	case id == "redirect":
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	default:
		if id == "slow" {
			u.slow <- struct{}{}
			<-u.slow
		}
		_, user, ok := strings.Cut(id, "-")
		if !ok {
			user = id
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"user_id": user})
	}
}
