package forwardauth

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Events are passed on as they come, and the server is asked once.
func TestServerSentEvents(t *testing.T) {
	a := newAuthelia()
	s := serve(t, a, "", pair{"app", rules})
	cookie := a.cookieOf("ada")
	for _, host := range []string{"oracle-app", "app", "app"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url(host, "/events"), nil)
		require.NoError(t, err)
		req.Header.Set("Cookie", cookie)
		req.Header.Set("Accept", "text/event-stream")
		resp, err := s.client.Do(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		reader := bufio.NewReader(resp.Body)
		for i := range 3 {
			line, err := reader.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("data: %d\n", i), line)
			s.events <- struct{}{} // the next event is sent only now
		}
		require.NoError(t, resp.Body.Close())
	}
	require.Len(t, s.oracle.asked(), 1)
	require.Len(t, s.cached.asked(), 1)
	require.Equal(t, http.StatusUnauthorized, s.compare("app", http.MethodGet, "/events", "", "Accept", "text/event-stream").Status)
}

// The site in the documentation that lets preflights through.
func TestPreflightsPassOnASiteThatLetsThemThrough(t *testing.T) {
	a := newAuthelia()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Forwarded-Method") == http.MethodOptions { // unlike Authelia, most servers see strangers here
			refuse(w, http.StatusUnauthorized)
			return
		}
		a.ServeHTTP(w, r)
	}), "", pair{"strict", rules}, pair{"app", `
		@preflight {
			method OPTIONS
			header Access-Control-Request-Method *
		}
		@guarded not {
			method OPTIONS
			header Access-Control-Request-Method *
		}
		` + strings.Replace(rules, "AUTH", "WORD @guarded UPSTREAM", 1) + `
		request_header @preflight -Remote-User`})
	preflight := []string{"Origin", "https://x.test", "Access-Control-Request-Method", "PUT", "Remote-User", "root"}
	require.Equal(t, http.StatusUnauthorized, s.compare("strict", http.MethodOptions, "/api", "", preflight...).Status)
	got := s.compare("app", http.MethodOptions, "/api", "", preflight...)
	require.Equal(t, http.StatusOK, got.Status)
	require.Equal(t, "https://x.test", got.Header.Get("Access-Control-Allow-Origin"))
	require.NotContains(t, got.Body, "root")
	require.Equal(t, http.StatusUnauthorized, s.compare("app", http.MethodOptions, "/api", "").Status, "no preflight")
	cookie := a.cookieOf("ada")
	got = s.compare("app", http.MethodPut, "/api", `{"a": 1}`, "Origin", "https://x.test", "Cookie", cookie)
	require.Contains(t, got.Body, `as ["ada"]`)
	require.Contains(t, got.Body, `{"a": 1}`)
	require.Equal(t, "https://x.test", got.Header.Get("Access-Control-Allow-Origin"))
}

// A body reaches the next handler complete, with Content-Length and chunked.
func TestBodiesAreNotSentToTheServer(t *testing.T) {
	a := newAuthelia()
	s := serve(t, a, "", pair{"app", rules})
	cookie := a.cookieOf("ada")
	body := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	for _, host := range []string{"oracle-app", "app", "app"} {
		for _, length := range []int64{int64(len(body)), -1} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url(host, "/form"), io.NopCloser(strings.NewReader(body)))
			require.NoError(t, err)
			req.ContentLength = length
			req.Header.Set("Cookie", cookie)
			resp, err := s.client.Do(req)
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Contains(t, string(got), body)
		}
	}
	for _, asked := range append(s.cached.asked(), s.oracle.asked()...) {
		require.Equal(t, http.MethodGet, asked.Method)
		require.Zero(t, asked.ContentLength)
	}
}

// One snippet in several sites: each asks its server itself.
func TestASnippetInTwoSites(t *testing.T) {
	a := newAuthelia()
	const site = "import auth\nBACKEND"
	s := serve(t, a, "", pair{"(auth)", `AUTH {
		uri /api/authz/forward-auth
		copy_headers Remote-User Remote-Groups
		<cached>
		cookies authelia_session
		ignore_in_key uri method for Accept
		</cached>
	}`}, pair{"app", site}, pair{"wiki-admin", site})
	cookie := a.cookieOf("ada")
	for range 3 {
		require.Contains(t, s.send("app", http.MethodGet, "/", "", "Cookie", cookie).Body, `as ["ada"]`)
		require.Equal(t, http.StatusForbidden, s.send("wiki-admin", http.MethodGet, "/", "", "Cookie", cookie).Status)
		require.Contains(t, s.send("wiki-admin", http.MethodGet, "/", "", "Cookie", a.cookieOf("admin")).Body, `as ["admin"]`)
	}
	var hosts []string
	for _, asked := range s.cached.asked() {
		hosts = append(hosts, strings.SplitN(asked.Header.Get("X-Forwarded-Host"), ".", 2)[0])
	}
	slices.Sort(hosts)
	require.Equal(t, []string{"app", "wiki-admin", "wiki-admin", "wiki-admin", "wiki-admin", "wiki-admin", "wiki-admin"}, hosts,
		"one yes, and what is refused or new each time")
}

// A logout through Caddy takes effect within 10 ms, apart from the time of a request that
// is refused anyway.
func TestALogoutThroughCaddyTakesEffectAtOnce(t *testing.T) {
	a := newAuthelia()
	const auth = `AUTH {
			uri /api/authz/forward-auth
			copy_headers Remote-User
			ignore_in_key uri method Accept
			tag user:{http.session.headers.Remote-User}
		}`
	s := serve(t, a, "", pair{"app", `
		<cached>
		handle /logout {
			` + auth + `
			lookup_invalidate {
				tag user:{http.session.headers.Remote-User}
			}
			reverse_proxy UPSTREAM
		}
		handle {
			` + auth + `
			BACKEND
		}
		</cached>`})
	var latencies, controls []time.Duration
	refused := func(cookie string) time.Duration {
		since := time.Now()
		for s.send("app", http.MethodGet, "/page", "", "Cookie", cookie).Status != http.StatusUnauthorized {
			require.Less(t, time.Since(since), 10*time.Second, "still let in")
		}
		return time.Since(since)
	}
	for i := range 40 {
		cookie := a.cookieOf(fmt.Sprintf("user%d", i))
		require.Equal(t, http.StatusOK, s.send("app", http.MethodGet, "/page", "", "Cookie", cookie).Status)
		require.Contains(t, s.send("app", http.MethodGet, "/page", "", "Cookie", cookie).Header.Get("Cache-Status"), "hit")
		controls = append(controls, refused(autheliaCookie+"=none"))
		require.Equal(t, http.StatusOK, s.send("app", http.MethodGet, "/logout", "", "Cookie", cookie).Status)
		latencies = append(latencies, refused(cookie))
	}
	slices.Sort(latencies)
	slices.Sort(controls)
	t.Logf("until refused: median %v, 90%% %v, longest %v; a request that is refused anyway: median %v, 90%% %v",
		latencies[20], latencies[36], latencies[39], controls[20], controls[36])
	require.LessOrEqual(t, latencies[36], 10*time.Millisecond+controls[36], "of nine logouts in ten")
}
