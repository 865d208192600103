package forwardauth

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The block in oauth2-proxy's documentation, with one word changed.
const oauth2ProxyBlock = `
	handle /oauth2/* {
		reverse_proxy UPSTREAM {
			header_up X-Real-IP {remote_host}
			header_up X-Forwarded-Uri {uri}
		}
	}
	handle {
		AUTH {
			uri /oauth2/auth
			header_up X-Real-IP {remote_host}
			copy_headers X-Auth-Request-User
			@error status 401
			handle_response @error {
				redir * /oauth2/sign_in?rd={scheme}://{hostport}{uri}
			}
		}
		BACKEND
	}`

func TestTheDocumentedBlockOfOAuth2Proxy(t *testing.T) {
	p := newProvider(t)
	s := serve(t, to(t, startOAuth2Proxy(t, p)), "", pair{"app", oauth2ProxyBlock}, pair{"admin", strings.Replace(oauth2ProxyBlock, "/oauth2/auth", "/oauth2/auth?allowed_groups=admins", 1)})
	const deep = "/deep/link?a=1&b=%2F2"
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		first := s.compare("app", method, deep, "", "Accept", html)
		require.Equal(t, http.StatusFound, first.Status)
		require.Equal(t, "/oauth2/sign_in?rd=http://app.example.test:"+s.port()+deep, first.Header.Get("Location"))
	}
	p.signIn(person{name: "ada"})
	b := s.browser()
	b.visit("app", "/oauth2/start?rd=/page")
	cookies := b.cookies("app")
	s.cached.asked()
	s.oracle.asked()
	for range repeats {
		got := s.compare("app", http.MethodPost, deep, "the body of a form", "Cookie", cookies, "X-Auth-Request-User", "root")
		require.Contains(t, got.Body, `as ["ada"]`)
		require.Contains(t, got.Body, "the body of a form")
	}
	require.Len(t, s.cached.asked(), 1)
	require.Len(t, s.oracle.asked(), repeats)
	require.Equal(t, http.StatusForbidden, s.compare("admin", http.MethodGet, "/", "", "Cookie", cookies).Status, "which no handle_response matches")
}

// answers is a server with an answer for each user in a header.
func answers(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	switch r.Header.Get("Authorization") {
	case "":
		w.Header().Set("X-Login", "https://login.example.test/?rd="+r.Header.Get("X-Forwarded-Uri"))
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.SetCookie(w, &http.Cookie{Name: "csrf", Value: "1"})
		status = http.StatusUnauthorized
	case "stranger":
		status = http.StatusForbidden
	case "busy":
		status = http.StatusServiceUnavailable
	case "moved":
		w.Header().Set("Location", "/elsewhere")
		status = http.StatusSeeOther
	}
	w.Header().Set("Remote-User", r.Header.Get("Authorization"))
	w.WriteHeader(status)
	fmt.Fprintf(w, "%d for %s %s %s real %q app %q original %q via %q", status, r.URL, r.Header.Get("X-Forwarded-Method"), r.Header.Get("X-Forwarded-Proto"),
		r.Header.Get("X-Real-IP"), r.Header["X-App"], r.Header["Original-Uri"], r.Header["X-Forwarded-Host"])
}

// Lines of reverse_proxy that blocks of forward_auth have mean the same.
func TestLinesOfReverseProxyInABlock(t *testing.T) {
	for name, block := range map[string]string{
		"by status": `
			@error status 401 403
			handle_response @error {
				redir * /login?rd={scheme}://{host}{uri}
			}`,
		"several": `
			@unauthenticated status 401
			handle_response @unauthenticated {
				redir https://login.example.test/start?rd={scheme}://{host}{uri} 303
			}
			@forbidden status 4xx
			handle_response @forbidden {
				header X-Reason {http.reverse_proxy.status_code}
				respond "not for you: {http.reverse_proxy.status_text}" 403
			}`,
		"by a header of the answer": `
			@login {
				status 4xx
				header X-Login *
			}
			handle_response @login {
				redir * {rp.header.X-Login}
			}`,
		"whatever it is": `
			handle_response {
				@401 expression {http.reverse_proxy.status_code} == 401
				redir @401 /start temporary
				respond "{http.reverse_proxy.status_code}" 418
			}`,
		"an error": `
			@error status 401 5xx
			handle_response @error {
				error "no" 404
			}`,
		"nothing that answers": `
			@error status 401
			handle_response @error {
				header X-Anonymous yes
			}`,
		"redirects": `
			@away status 3xx
			handle_response @away {
				respond "moved" 200
			}`,
		"headers": `
			header_up X-Real-IP {remote_host}
			header_up +X-App notes
			header_up +X-App {uri}
			header_up Original-URI {uri}
			header_up X-Forwarded-Proto https
			header_up X-Forwarded-Host {host}
			header_up X-Forwarded-Uri {http.request.orig_uri}
			header_up -X-Forwarded-Method`,
		"headers that are deleted": `
			header_up Accept text/plain
			header_up -X-Forwarded-*
			header_up -Cookie`,
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, http.HandlerFunc(answers), "", pair{"app", "AUTH {\nuri /check?scope=app\ncopy_headers Remote-User" + block + "\n}\nBACKEND"})
			for _, who := range []string{"", "ada", "stranger", "busy", "moved"} {
				for range 2 {
					for _, method := range []string{http.MethodGet, http.MethodPost} {
						headers := []string{"Cookie", "a=1"}
						if name != "nothing that answers" { // forward_auth would let it through
							headers = append(headers, "Remote-User", "root")
						}
						if who != "" {
							headers = append(headers, "Authorization", who)
						}
						got := s.compare("app", method, "/x?y=1", "body", headers...)
						require.NotContains(t, got.Body, "root")
					}
				}
			}
			require.Less(t, len(s.cached.asked()), len(s.oracle.asked()))
		})
	}
}

// After routes that do not answer, the next handler runs, without the client's own user
// headers.
func TestHandleResponseThatDoesNotAnswerContinues(t *testing.T) {
	s := serve(t, http.HandlerFunc(answers), "", pair{"app", `
		AUTH {
			uri /check
			copy_headers Remote-User
			@error status 401
			handle_response @error {
				header X-Anonymous yes
			}
		}
		BACKEND`})
	got := s.send("app", http.MethodGet, "/x", "", "Remote-User", "root")
	require.Equal(t, http.StatusOK, got.Status)
	require.Equal(t, "yes", got.Header.Get("X-Anonymous"))
	require.NotContains(t, got.Body, "root")
}

// handle_response matches the status of a cached answer.
func TestHandleResponseOfACachedAnswer(t *testing.T) {
	s := serve(t, http.HandlerFunc(answers), "", pair{"app", `
		AUTH {
			uri /check
			<cached>negative_ttl 1m</cached>
			@error status 401
			handle_response @error {
				redir * /login?rd={uri}
			}
			@denied status 403
			handle_response @denied {
				respond "denied" 403
			}
		}
		BACKEND`})
	for range 3 {
		require.Equal(t, "/login?rd=/x", s.compare("app", http.MethodGet, "/x", "").Header.Get("Location"))
		require.Equal(t, "denied", s.compare("app", http.MethodGet, "/x", "", "Authorization", "stranger").Body)
	}
	require.Len(t, s.cached.asked(), 2)
}

// Blocks for a server behind TLS with a certificate of its own.
func TestTransportOfABlock(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(answers))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	address := strings.TrimPrefix(server.URL, "https://")
	for name, block := range map[string]string{
		address: "transport http {\ntls\ntls_insecure_skip_verify\n}",
		"https://" + address: "transport http {\ntls_trust_pool file " + file + "\ntls_server_name example.com\ndial_timeout 2s\nkeepalive 30s\n}\n" +
			"header_up Host {upstream_hostport}",
	} {
		t.Run(block[:20], func(t *testing.T) {
			block := "WORD " + name + " {\nuri /check\ncopy_headers Remote-User\n" + block + "\n}\nBACKEND"
			s := serve(t, http.NotFoundHandler(), "", pair{"app", block})
			for range 2 {
				require.Equal(t, http.StatusUnauthorized, s.compare("app", http.MethodGet, "/x", "").Status)
				require.Contains(t, s.compare("app", http.MethodGet, "/x", "", "Authorization", "ada").Body, `as ["ada"]`)
			}
		})
	}
}

// The block for Tailscale's server in Caddy's documentation.
func TestUnixSocketOfABlock(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "auth.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(answers)}
	go func() { _ = server.Serve(listener) }() // until it is closed
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	s := serve(t, http.NotFoundHandler(), "", pair{"app", `
		WORD unix/` + socket + ` {
			uri /auth
			header_up Remote-Addr {remote_host}
			header_up Remote-Port {remote_port}
			header_up Original-URI {uri}
			copy_headers {
				Remote-User>X-Auth-Request-User
			}
			<cached>ignore_in_key Remote-Port</cached>
		}
		BACKEND`})
	for range 2 {
		require.Equal(t, http.StatusUnauthorized, s.compare("app", http.MethodGet, "/x", "").Status)
		got := s.compare("app", http.MethodGet, "/x", "", "Authorization", "ada", "X-Auth-Request-User", "root")
		require.Contains(t, got.Body, `as ["ada"]`)
	}
	require.Contains(t, s.send("app", http.MethodGet, "/x", "", "Authorization", "ada").Header.Get("Cache-Status"), "hit")
}
