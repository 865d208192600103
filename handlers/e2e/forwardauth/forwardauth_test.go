package forwardauth

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// app is a site behind oauth2-proxy, which answers for every path but its own
// /oauth2/. Signing out drops what is remembered of a user.
var app = pair{"app", `
	@out path /oauth2/sign_out
	route @out {
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
		{"more than 8 KiB of cookies", 7000, 3, false},
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

			signedOut := s.send("app", http.MethodGet, "/oauth2/sign_out", "", "Cookie", cookies, "Accept", "text/html")
			require.Equal(t, http.StatusFound, signedOut.Status)
			want := http.StatusOK // a session that is in its cookie ends where the cookie does
			if test.redis {
				want = http.StatusFound
			}
			got := s.compare("app", http.MethodGet, "/page", "", "Cookie", cookies, "Accept", "text/html")
			require.Equal(t, want, got.Status)
			b.visit("app", "/oauth2/sign_out")
			require.Empty(t, strings.ReplaceAll(b.cookies("app"), "_oauth2_proxy_csrf", ""))
		})
	}
}

func TestExpiredSessionsEnd(t *testing.T) {
	p := newProvider(t)
	s := serve(t, to(t, startOAuth2Proxy(t, p, "--cookie-expire=4s")), "", pair{"app", `
		handle /oauth2/* {
			reverse_proxy UPSTREAM
		}
		AUTH {
			uri /
			<cached>ttl 1s</cached>
		}
		BACKEND`})
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

// Two sites of one domain share cookies, but not what they ask.
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

// What oauth2-proxy's documentation writes with handle_response is a
// session_lookup whose identity is the cookies that a session may be split over.
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
