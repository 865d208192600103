package forwardauth

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// app is a site behind oauth2-proxy, which also answers /oauth2/ itself. Signing out
// drops the cached answers of a user.
var app = pair{"app", `
	handle /oauth2/sign_out {
		<cached>
		AUTH {
			uri /
			copy_headers X-Auth-Request-User
			tag user:{http.session.headers.X-Auth-Request-User}
		}
		lookup_invalidate {
			tag user:{http.session.headers.X-Auth-Request-User}
		}
		</cached>
		reverse_proxy UPSTREAM
	}
	handle /oauth2/* {
		reverse_proxy UPSTREAM
	}
	handle {
		AUTH {
			uri /
			copy_headers X-Auth-Request-User
			<cached>tag user:{http.session.headers.X-Auth-Request-User}</cached>
		}
		BACKEND
	}`}

const repeats = 20

func TestOAuth2Proxy(t *testing.T) {
	for _, test := range []struct {
		name    string
		size    int // of the access token
		cookies int // how many the session has
		redis   bool
	}{
		{"one cookie", 0, 1, false},
		{"split cookies", 3000, 2, false},
		{"more than 8 KiB of cookies", 7000, 4, false},
		{"sessions in Redis", 7000, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProvider(t)
			var options []string
			if test.redis {
				options = []string{"--session-store-type=redis", "--redis-connection-url=redis://" + redistest.Start(t).Addr()}
			}
			s := serve(t, to(t, startOAuth2Proxy(t, p, options...)), "", app)

			const deep = "/deep/link?a=1&b=%2F2"
			first := s.compare("app", http.MethodGet, deep, "", "Accept", "text/html")
			require.Equal(t, http.StatusFound, first.Status)
			require.Contains(t, first.Header.Get("Location"), p.URL+"/authorize")

			p.signIn(person{name: "ada", tokenSize: test.size})
			b := s.browser()
			where, body := b.visit("app", deep)
			require.Equal(t, s.url("app", deep), where, "the way back")
			require.Contains(t, body, `as ["ada"]`)
			cookies := b.cookies("app")
			require.Equal(t, test.cookies, strings.Count(cookies, "_oauth2_proxy"), "%d bytes", len(cookies))

			s.cached.asked()
			s.oracle.asked()
			for range repeats {
				got := s.compare("app", http.MethodGet, "/page", "", "Cookie", cookies, "Accept", "text/html", "X-Auth-Request-User", "root")
				require.Equal(t, http.StatusOK, got.Status)
			}
			require.Len(t, s.oracle.asked(), repeats)
			require.Len(t, s.cached.asked(), 1)

			require.Equal(t, http.StatusOK, s.API(t, http.MethodPost, "purge", `{"tag": "user:ada"}`).Status)
			s.compare("app", http.MethodGet, "/page", "", "Cookie", cookies, "Accept", "text/html")
			require.Len(t, s.cached.asked(), 1, "a purge makes it ask again")

			p.signIn(person{}) // signed out
			signedOut := s.send("app", http.MethodGet, "/oauth2/sign_out", "", "Cookie", cookies, "Accept", "text/html")
			require.Equal(t, http.StatusFound, signedOut.Status)
			want := http.StatusOK // a session that is in its cookie ends where the cookie does
			if test.redis {
				want = http.StatusFound
			}
			got := s.compare("app", http.MethodGet, "/page", "", "Cookie", cookies, "Accept", "text/html")
			require.Equal(t, want, got.Status)
			b.visit("app", "/oauth2/sign_out")
			require.NotContains(t, strings.ReplaceAll(b.cookies("app"), "_oauth2_proxy_csrf", ""), "_oauth2_proxy")
		})
	}
}

func TestExpiredSessionsEnd(t *testing.T) {
	p := newProvider(t)
	s := serve(t, to(t, startOAuth2Proxy(t, p, "--cookie-expire=4s")), "", pair{"app", `
		handle /oauth2/* {
			reverse_proxy UPSTREAM
		}
		handle {
			AUTH {
				uri /
				<cached>ttl 1s</cached>
			}
			BACKEND
		}`})
	p.signIn(person{name: "ada"})
	b := s.browser()
	b.visit("app", "/")
	cookies := b.cookies("app")
	require.Equal(t, http.StatusOK, s.send("app", http.MethodGet, "/", "", "Cookie", cookies).Status)
	require.Eventually(t, func() bool {
		return s.send("oracle-app", http.MethodGet, "/", "", "Cookie", cookies).Status == http.StatusFound
	}, 20*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		return s.send("app", http.MethodGet, "/", "", "Cookie", cookies).Status == http.StatusFound
	}, 2*time.Second, 20*time.Millisecond, "no longer than its ttl")
}

// Two sites of one domain share cookies, but not the answers of their servers.
func TestSitesWithRulesOfTheirOwn(t *testing.T) {
	const site = `
		handle /oauth2/* {
			reverse_proxy UPSTREAM
		}
		handle {
			AUTH {
				uri /oauth2/auth%s
				copy_headers X-Auth-Request-User
				<cached>ignore_in_key uri method</cached>
			}
			BACKEND
		}`
	p := newProvider(t)
	s := serve(t, to(t, startOAuth2Proxy(t, p)), "",
		pair{"all", fmt.Sprintf(site, "")}, pair{"admin", fmt.Sprintf(site, "?allowed_groups=admins")})
	require.Equal(t, http.StatusUnauthorized, s.compare("all", http.MethodGet, "/", "").Status)
	for _, who := range []struct {
		person
		admin int
	}{{person{name: "ada"}, http.StatusForbidden}, {person{name: "eve", groups: []string{"admins"}}, http.StatusOK}} {
		p.signIn(who.person)
		b := s.browser()
		b.visit("all", "/oauth2/start?rd=/")
		s.cached.asked()
		s.oracle.asked()
		for i := range repeats {
			path := fmt.Sprintf("/%d", i)
			all := s.compare("all", http.MethodGet, path, "", "Cookie", b.cookies("all"))
			require.Equal(t, http.StatusOK, all.Status)
			require.Contains(t, all.Body, fmt.Sprintf("as [%q]", who.name))
			require.Equal(t, who.admin, s.compare("admin", http.MethodGet, path, "", "Cookie", b.cookies("admin")).Status)
		}
		require.Len(t, s.oracle.asked(), 2*repeats)
		want := 2
		if who.admin != http.StatusOK {
			want = 1 + repeats // refusals are not remembered by default
		}
		require.Len(t, s.cached.asked(), want)
	}
}

// The handle_response of oauth2-proxy's documentation, written as a session_lookup whose
// identity is the cookies over which a session may be split.
func TestSessionLookupOfSplitCookies(t *testing.T) {
	p := newProvider(t)
	s := serve(t, to(t, startOAuth2Proxy(t, p)), "", pair{"app", `
		handle /oauth2/* {
			reverse_proxy UPSTREAM
		}
		handle {
			<cached>
			session_lookup {cookie._oauth2_proxy} {cookie._oauth2_proxy_0} {cookie._oauth2_proxy_1} {
				source http http://UPSTREAM/oauth2/auth {
					header X-Forwarded-Host {hostport}
					copy_headers X-Auth-Request-User
					cache_control ignore
				}
				on_missing redirect /oauth2/sign_in?rd={scheme}://{hostport}{uri}
				copy_headers headers.X-Auth-Request-User>X-Auth-Request-User
			}
			</cached>
			BACKEND
		}`})
	for _, size := range []int{0, 3000} {
		p.signIn(person{name: "ada", tokenSize: size})
		b := s.browser()
		where, body := b.visit("app", "/deep?a=1&b=2")
		require.Equal(t, s.url("app", "/deep?a=1&b=2"), where)
		require.Contains(t, body, `as ["ada"]`)
		cookies := b.cookies("app")
		require.Equal(t, 1+min(size, 1), strings.Count(cookies, "_oauth2_proxy"))
		s.cached.asked()
		for i := range repeats {
			got := s.send("app", http.MethodGet, fmt.Sprintf("/%d", i), "", "Cookie", cookies, "X-Auth-Request-User", "root")
			require.Contains(t, got.Body, `as ["ada"]`)
		}
		require.Empty(t, s.cached.asked(), "the path is no part of what it asks")
	}
}

// rules is a site behind Authelia.
const rules = `AUTH {
		uri /api/authz/forward-auth
		copy_headers Remote-User Remote-Groups
	}
	BACKEND`

func TestAuthelia(t *testing.T) {
	a := newAuthelia()
	s := serve(t, a, "", pair{"app", rules}, pair{"app-admin", rules})
	const deep = "/deep?a=1&b=%2F2"

	for _, test := range []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"a browser", http.MethodGet, deep, []string{"Accept", html}, http.StatusFound},
		{"a browser that looks first", http.MethodHead, deep, []string{"Accept", html}, http.StatusFound},
		{"a form", http.MethodPost, deep, []string{"Accept", html}, http.StatusSeeOther},
		{"a script", http.MethodGet, deep, []string{"Accept", html, "X-Requested-With", "XMLHttpRequest"}, http.StatusUnauthorized},
		{"a program", http.MethodGet, deep, nil, http.StatusUnauthorized},
		{"a public page", http.MethodGet, "/public/x", []string{"Remote-User", "root"}, http.StatusOK},
		{"a preflight", http.MethodOptions, "/api", []string{"Origin", "https://x.test", "Access-Control-Request-Method", "PUT"}, http.StatusOK},
	} {
		for range 2 {
			got := s.compare("app", test.method, test.path, "", test.headers...)
			require.Equal(t, test.status, got.Status, test.name)
			require.NotContains(t, got.Body, "root")
		}
	}

	for _, who := range []struct {
		user  string
		admin int
	}{{"ada", http.StatusForbidden}, {"admin", http.StatusOK}} {
		cookie := a.cookieOf(who.user)
		s.cached.asked()
		s.oracle.asked()
		for range repeats {
			got := s.compare("app", http.MethodPost, "/form", "the body of a form", "Cookie", cookie, "Remote-Groups", "root")
			require.Contains(t, got.Body, fmt.Sprintf("[%q] [] of [%q]: the body of a form", who.user, "readers,"+who.user+"s"))
			s.compare("app", http.MethodGet, deep, "", "Cookie", "first=1; "+cookie+"; last=x y", "Accept", html)
			require.Equal(t, who.admin, s.compare("app-admin", http.MethodGet, deep, "", "Cookie", cookie).Status)
		}
		require.Len(t, s.oracle.asked(), 3*repeats)
		want := 3
		if who.admin != http.StatusOK {
			want = 2 + repeats // refusals are not remembered by default
		}
		require.Len(t, s.cached.asked(), want)
	}
}

// The authentication server gets the same forwarded headers as with forward_auth, also
// of a request through a trusted proxy.
func TestForwardedHeaders(t *testing.T) {
	for name, options := range map[string]string{
		"direct":          "",
		"a trusted proxy": "servers {\ntrusted_proxies static 127.0.0.1/32\n}",
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthelia()
			s := serve(t, a, options, pair{"app", rules})
			for _, headers := range [][]string{
				nil,
				{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "public.example.test"},
				{"X-Forwarded-Method", "DELETE", "X-Forwarded-Uri", "/public/", "X-Forwarded-For", "203.0.113.9"},
				{"Authorization", "Bearer x", "Accept", "text/html", "Cookie", "a=1; b=; a=2"},
			} {
				s.compare("app", http.MethodGet, "/x?y=%2F", "", headers...)
				want, got := s.oracle.asked(), s.cached.asked()
				require.Len(t, want, 1)
				require.Len(t, got, 1)
				require.Equal(t, s.normal(want[0].Host), got[0].Host)
				for _, name := range []string{"X-Forwarded-Method", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Uri", "Authorization", "Accept", "Cookie"} {
					require.Equal(t, s.normal(want[0].Header.Get(name)), got[0].Header.Get(name), name)
				}
			}
		})
	}
}

func TestUpgradedConnections(t *testing.T) {
	a := newAuthelia()
	s := serve(t, a, "", pair{"app", rules})
	for _, test := range []struct {
		cookie string
		status string
	}{{a.cookieOf("ada"), "101 Switching Protocols"}, {"none=1", "401 Unauthorized"}} {
		for _, host := range []string{"oracle-app", "app", "app"} {
			conn, err := net.Dial("tcp", s.Page)
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			_, err = fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s.example.test:%s\r\nCookie: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
				host, s.port(), test.cookie)
			require.NoError(t, err)
			reader := bufio.NewReader(conn)
			resp, err := http.ReadResponse(reader, nil)
			require.NoError(t, err)
			require.Equal(t, test.status, resp.Status, host)
			if resp.StatusCode != http.StatusSwitchingProtocols {
				resp.Body.Close()
				continue
			}
			for _, line := range []string{"hello\n", "again\n"} {
				_, err = conn.Write([]byte(line))
				require.NoError(t, err)
				echo, err := reader.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, line, echo)
			}
		}
	}
	require.Len(t, s.oracle.asked(), 2)
	require.Len(t, s.cached.asked(), 3, "one for ada, and one for each stranger")
}
