package forwardauth

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const html = "text/html,*/*;q=0.8"

// The blocks are those of the servers' own documentation, with one word changed.
const (
	authentikBlock = `
		route {
			reverse_proxy /outpost.goauthentik.io/* UPSTREAM
			AUTH {
				uri /outpost.goauthentik.io/auth/caddy
				copy_headers X-Authentik-Username X-Authentik-Groups X-Authentik-Entitlements X-Authentik-Email X-Authentik-Name X-Authentik-Uid X-Authentik-Jwt X-Authentik-Meta-Jwks X-Authentik-Meta-Outpost X-Authentik-Meta-Provider X-Authentik-Meta-App X-Authentik-Meta-Version
				trusted_proxies private_ranges
				<cached>ttl 1s</cached>
			}
			BACKEND
		}`
	tinyauthBlock = `
		AUTH {
			uri /api/auth/caddy
			copy_headers {
				Remote-User
				Remote-Name
				Remote-Email
				Remote-Groups
			}
			header_up X-Forwarded-Proto http
			<cached>ttl 1s</cached>
		}
		BACKEND`
	autheliaBlock = `
		AUTH {
			uri /api/authz/forward-auth
			copy_headers Remote-User Remote-Groups Remote-Email Remote-Name
			<cached>ttl 1s</cached>
		}
		BACKEND`
	loginSite = "reverse_proxy UPSTREAM"
)

// loginServer is an authentication server with a login page.
type loginServer interface {
	http.Handler
	signIn(user string)
	expire()
}

func TestServersWithALoginPage(t *testing.T) {
	var (
		theAuthentik authentik
		theTinyauth  tinyauth
		theAuthelia  = newAuthelia()
	)
	for _, server := range []struct {
		name, block string
		loginServer
		portal  *portal
		header  string // has the user's name
		signOut string // a host and a path
		// statuses of a first visit by a browser, by a form and by a script
		browser, form, script int
	}{
		{"authentik", authentikBlock, &theAuthentik, &theAuthentik.portal, "X-Authentik-Username", "app /outpost.goauthentik.io/sign_out", http.StatusFound, http.StatusFound, http.StatusFound},
		{"Tinyauth", tinyauthBlock, &theTinyauth, &theTinyauth.portal, "Remote-User", "auth /logout", http.StatusTemporaryRedirect, http.StatusTemporaryRedirect, http.StatusUnauthorized},
		{"Authelia", autheliaBlock, theAuthelia, &theAuthelia.portal, "Remote-User", "auth /logout", http.StatusFound, http.StatusSeeOther, http.StatusUnauthorized},
	} {
		t.Run(server.name, func(t *testing.T) {
			s := serve(t, server, "", pair{"app", server.block}, pair{"auth", loginSite})
			server.portal.url = s.url("auth", "")
			const deep = "/deep/link?a=1&b=%2F2"

			for range 2 {
				require.Equal(t, server.browser, s.compare("app", http.MethodGet, deep, "", "Accept", html).Status)
				require.Equal(t, server.form, s.compare("app", http.MethodPost, deep, "text", "Accept", html).Status)
				require.Equal(t, server.script, s.compare("app", http.MethodGet, deep, "", "Accept", "application/json", "X-Requested-With", "XMLHttpRequest").Status)
				public := s.compare("app", http.MethodGet, "/public/x", "", server.header, "root")
				require.Equal(t, http.StatusOK, public.Status)
				require.NotContains(t, public.Body, "root")
			}

			server.signIn("ada")
			b := s.browser()
			where, body := b.visit("app", deep)
			require.Equal(t, s.url("app", deep), where, "the way back")
			require.Contains(t, body, `"ada"`)
			require.Contains(t, body, "Zoë", "UTF-8")
			cookies := b.cookies("app")

			s.cached.asked()
			s.oracle.asked()
			var hits int
			for range repeats {
				got := s.compare("app", http.MethodPost, deep, "a body", "Cookie", "first=1; "+cookies, "Accept", html, server.header, "root")
				require.Contains(t, got.Body, `"ada"`)
				require.Contains(t, got.Body, "a body")
				if strings.Contains(got.Header.Get("Cache-Status"), "hit") {
					hits++
				}
			}
			require.Len(t, s.oracle.asked(), repeats)
			require.Len(t, s.cached.asked(), repeats-hits)
			require.GreaterOrEqual(t, hits, repeats/2, "all within the same second or two")

			server.signIn("")
			host, path, _ := strings.Cut(server.signOut, " ")
			s.send(host, http.MethodGet, path, "", "Cookie", cookies)
			require.Equal(t, server.browser, s.send("oracle-app", http.MethodGet, deep, "", "Cookie", cookies, "Accept", html).Status)
			require.Eventually(t, func() bool {
				return s.send("app", http.MethodGet, deep, "", "Cookie", "first=1; "+cookies, "Accept", html).Status == server.browser
			}, 5*time.Second, 10*time.Millisecond, "no longer than its ttl")

			server.signIn("eve")
			b = s.browser()
			_, body = b.visit("app", deep)
			require.Contains(t, body, `"eve"`, "a login counts at once")
			server.expire()
			server.signIn("")
			require.Eventually(t, func() bool {
				return s.send("app", http.MethodGet, deep, "", "Cookie", b.cookies("app"), "Accept", html).Status == server.browser
			}, 5*time.Second, 10*time.Millisecond, "expired")
		})
	}
}

// Tinyauth may allow some users in and not others, and takes passwords.
func TestTinyauthRefusesAndTakesPasswords(t *testing.T) {
	var server tinyauth
	s := serve(t, &server, "", pair{"app", tinyauthBlock}, pair{"auth", loginSite})
	server.url = s.url("auth", "")
	cookie := tinyauthCookie + "=" + server.begin("stranger")
	require.Equal(t, http.StatusForbidden, s.compare("app", http.MethodGet, "/", "", "Cookie", cookie).Status)
	require.Equal(t, http.StatusTemporaryRedirect, s.compare("app", http.MethodGet, "/", "", "Cookie", cookie, "Accept", html).Status)
	for password, status := range map[string]int{"right": http.StatusOK, "wrong": http.StatusUnauthorized} {
		req, err := http.NewRequest(http.MethodGet, "/", nil)
		require.NoError(t, err)
		req.SetBasicAuth("ada", password)
		for range 2 {
			got := s.compare("app", http.MethodGet, "/", "", "Authorization", req.Header.Get("Authorization"))
			require.Equal(t, status, got.Status, password)
			require.Equal(t, status == http.StatusOK, strings.Contains(got.Body, `"ada"`))
		}
	}
}

// A trusted proxy in front, as authentik's block has it.
func TestTrustedProxiesOfABlock(t *testing.T) {
	for _, test := range []struct{ networks, option string }{
		{"private_ranges", ""}, {"127.0.0.1", ""}, {"203.0.113.0/24", ""}, {"10.0.0.0/8 127.0.0.0/8", ""},
		{"203.0.113.0/24", "servers {\ntrusted_proxies static 127.0.0.1/32\n}"},
	} {
		t.Run(test.networks+test.option, func(t *testing.T) {
			s := serve(t, newAuthelia(), test.option, pair{"app", fmt.Sprintf("AUTH {\nuri /api/authz/forward-auth\ntrusted_proxies %s\n}\nBACKEND", test.networks)})
			for _, headers := range [][]string{
				nil,
				{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "public.example.test", "X-Forwarded-For", "203.0.113.77"},
			} {
				s.compare("app", http.MethodGet, "/x?y=%2F", "", headers...)
				want, got := s.oracle.asked(), s.cached.asked()
				for _, name := range []string{"X-Forwarded-Method", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Uri"} {
					require.Equal(t, s.normal(want[0].Header.Get(name)), got[0].Header.Get(name), name)
				}
				client, _, _ := strings.Cut(want[0].Header.Get("X-Forwarded-For"), ",")
				require.Equal(t, client, got[0].Header.Get("X-Forwarded-For"), "the client alone, not the proxies on its way")
			}
		})
	}
}
