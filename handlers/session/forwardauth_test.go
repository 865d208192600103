package session

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// authServer answers as authentication servers do, and remembers what it was
// asked.
type authServer struct {
	url   string
	mu    sync.Mutex
	calls []*http.Request
}

func newAuthServer(t *testing.T) *authServer {
	a := new(authServer)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.calls = append(a.calls, r)
		count := len(a.calls)
		a.mu.Unlock()
		cookie, err := r.Cookie("auth")
		h := r.Header
		switch {
		case h.Get("X-Forwarded-Method") == "" || h.Get("X-Forwarded-Host") == "" || h.Get("X-Forwarded-Uri") == "" || h.Get("X-Forwarded-Proto") == "":
			http.Error(w, "forwarded headers are missing", http.StatusBadRequest)
		case strings.HasPrefix(h.Get("X-Forwarded-Uri"), "/public"):
			w.WriteHeader(http.StatusOK)
		case err != nil && h.Get("X-Requested-With") == "XMLHttpRequest":
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "log in", http.StatusUnauthorized)
		case err != nil:
			http.SetCookie(w, &http.Cookie{Name: "csrf", Value: fmt.Sprint(count)})
			http.Redirect(w, r, "https://auth.example.com/?rd="+h.Get("X-Forwarded-Uri"), http.StatusFound)
		case cookie.Value == "busy":
			w.Header().Set("Retry-After", "7")
			http.Error(w, "later", http.StatusTooManyRequests)
		case cookie.Value == "stranger":
			http.Error(w, "not for you", http.StatusForbidden)
		default:
			w.Header().Set("Remote-User", cookie.Value)
			w.Header().Set("Cache-Control", "no-store")
		}
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// asked is how often it was asked since the last call.
func (a *authServer) asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.calls)
	a.calls = nil
	return n
}

func remembered(t *testing.T, upstream, block string) *Handler {
	t.Helper()
	a := new(forwardAuth)
	require.NoError(t, a.unmarshal(caddyfile.NewTestDispenser("cached_forward_auth "+upstream+" {\n"+block+"\n}")))
	h, err := a.handler()
	require.NoError(t, err)
	config, err := json.Marshal(h)
	require.NoError(t, err)
	ctx, _ := lookuptest.NewApp(t, `{}`)
	loaded, err := lookuptest.NewHandler(ctx, "session_lookup", string(config))
	require.NoError(t, err)
	return loaded.(*Handler)
}

func TestForwardAuthIsRemembered(t *testing.T) {
	t.Parallel()
	auth := newAuthServer(t)
	h := remembered(t, strings.TrimPrefix(auth.url, "http://"), "uri /api/verify\ncopy_headers Remote-User")
	for range 3 {
		got := lookuptest.Serve(h, lookuptest.Get("http://a.example/x", "Cookie", "auth=ada", "Remote-User", "root"))
		require.True(t, got.Next)
		require.Equal(t, []string{"ada"}, got.Request.Header.Values("Remote-User"))
	}
	require.Equal(t, 1, auth.asked(), "no-store is ignored")

	for _, request := range []*http.Request{
		lookuptest.Get("http://a.example/y", "Cookie", "auth=ada"),
		lookuptest.Get("http://b.example/x", "Cookie", "auth=ada"),
		lookuptest.Get("http://a.example/x", "Cookie", "auth=bob"),
		lookuptest.Get("http://a.example/x", "Cookie", "auth=ada", "Authorization", "Bearer x"),
		lookuptest.Get("http://a.example/x", "Cookie", "auth=ada", "Accept", "text/html"),
		httptest.NewRequest(http.MethodPost, "http://a.example/x", nil),
	} {
		lookuptest.Serve(h, request)
		require.Equal(t, 1, auth.asked(), "%s %s asks another question", request.Method, request.URL)
	}
}

func TestForwardAuthPassesWhatTheServerAnswers(t *testing.T) {
	t.Parallel()
	auth := newAuthServer(t)
	h := remembered(t, auth.url, "uri /api/verify")

	first := lookuptest.Serve(h, lookuptest.Get("http://a.example/deep/link"))
	require.Equal(t, http.StatusFound, first.Status)
	require.Equal(t, "https://auth.example.com/?rd=/deep/link", first.Header().Get("Location"))
	require.NotEmpty(t, first.Header().Get("Set-Cookie"))
	second := lookuptest.Serve(h, lookuptest.Get("http://a.example/deep/link"))
	require.NotEqual(t, first.Header().Get("Set-Cookie"), second.Header().Get("Set-Cookie"), "each client has a cookie of its own")

	got := lookuptest.Serve(h, lookuptest.Get("http://a.example/", "X-Requested-With", "XMLHttpRequest"))
	require.Equal(t, http.StatusUnauthorized, got.Status)
	require.Equal(t, "Bearer", got.Header().Get("WWW-Authenticate"))
	require.Equal(t, "log in\n", got.Body.String())

	got = lookuptest.Serve(h, lookuptest.Get("http://a.example/", "Cookie", "auth=busy"))
	require.Equal(t, http.StatusTooManyRequests, got.Status)
	require.Equal(t, "7", got.Header().Get("Retry-After"))
	require.Equal(t, "later\n", got.Body.String())

	got = lookuptest.Serve(h, lookuptest.Get("http://a.example/", "Cookie", "auth=stranger"))
	require.Equal(t, http.StatusForbidden, got.Status)
	require.Equal(t, "not for you\n", got.Body.String())

	require.True(t, lookuptest.Serve(h, lookuptest.Get("http://a.example/public/x")).Next, "public rules count for strangers")
}

// HTTP/1.1 allows several Cookie lines in one request, and a browser sends
// several cookies of one name: all go out, in their order, in one line.
func TestCookiesGoOutAsTheyCame(t *testing.T) {
	t.Parallel()
	for block, want := range map[string]string{
		"uri /api/verify":                     "b=1; auth=old; c=x,y; auth=ada",
		"uri /api/verify\ncookies auth other": "auth=old; auth=ada",
	} {
		auth := newAuthServer(t)
		h := remembered(t, auth.url, block)
		for range 2 {
			request := lookuptest.Get("http://a.example/x")
			request.Header["Cookie"] = []string{"b=1; auth=old", "c=x,y; auth=ada"}
			require.True(t, lookuptest.Serve(h, request).Next)
		}
		require.Equal(t, []string{want}, auth.calls[0].Header["Cookie"])
		require.Equal(t, 1, auth.asked())
	}
}

// Nodes share answers where their configurations come to the same.
func TestKeysOfAnswersDependOnWhatAConfigurationComesTo(t *testing.T) {
	t.Setenv("TEST_AUTH_SERVER", "auth.internal:9091")
	t.Setenv("TEST_AUTH_SOCKET", "/run/auth.sock")
	key := func(upstream, block string) string {
		h := remembered(t, upstream, "uri /api/verify\n"+block)
		r := lookuptest.Get("http://a.example/x", "Cookie", "auth=ada")
		repl := caddy.NewReplacer()
		req, err := h.Request(r, repl, h.Identify(r, repl))
		require.NoError(t, err)
		return req.Key
	}
	base := key("auth.internal:9091", "")
	require.Regexp(t, `^session:auth:[0-9a-f]{16}:[0-9a-f]{64}:[0-9a-f]{32}$`, base)
	for _, same := range [][2]string{
		{"{env.TEST_AUTH_SERVER}", ""},
		{"http://auth.internal:9091", "ttl 1m"},
		{"auth.internal:9091", "headers Authorization Accept X-Requested-With"},
		{"auth.internal:9091", "header_up Host {http.request.hostport}\ntimeout 1s\nrequire status 200"},
	} {
		require.Equal(t, base, key(same[0], same[1]), same)
	}
	seen := []string{base}
	for _, other := range [][2]string{
		{"auth.internal:9092", ""},
		{"https://auth.internal:9091", ""},
		{"auth.internal:9091", "ttl 2m"},
		{"auth.internal:9091", "copy_headers Remote-User"},
		{"auth.internal:9091", "ignore_in_key uri"},
		{"auth.internal:9091", "header_up Host {http.request.host}"},
		{"auth.internal:9091", "header_up X-A b"},
		{"auth.internal:9091", "cookies auth"},
		{"auth.internal:9091", "transport http {\ndial_timeout 1s\n}"},
		{"unix//run/auth.sock", ""},
	} {
		another := key(other[0], other[1])
		require.NotContains(t, seen, another, other)
		seen = append(seen, another)
	}
	require.Contains(t, seen, key("unix/{env.TEST_AUTH_SOCKET}", ""))
}

// The Host that is sent is the one that reverse_proxy would send.
func TestHostThatIsSent(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{
		"":                                       "a.example:8443",
		"header_up Host {http.request.hostport}": "a.example:8443",
		"header_up Host {http.request.host}":     "a.example",
		"header_up Host b.example":               "b.example",
		"header_up Host b.example\nheader_up Host c.example":                                        "c.example",
		"header_up Host b.example\nheader_up Host {http.request.host}":                              "a.example",
		"header_up Host {http.request.host}\nheader_up Host b.example":                              "b.example",
		"header_up Host b.example\nheader_up Host {http.request.hostport}":                          "a.example:8443",
		"header_up Host {http.request.host}\nheader_up Host {http.request.hostport}":                "a.example:8443",
		"header_up Host {http.request.hostport}\nheader_up Host {http.request.host}":                "a.example",
		"header_up Host b.example\nheader_up Host {http.reverse_proxy.upstream.hostport}":           "UPSTREAM",
		"header_up Host {http.request.host}\nheader_up Host {http.reverse_proxy.upstream.hostport}": "UPSTREAM",
		"header_up Host {http.reverse_proxy.upstream.hostport}\nheader_up Host {http.request.host}": "a.example",
		"header_up Host {http.request.host}\nheader_up -Host":                                       "UPSTREAM",
		"header_up -Host": "UPSTREAM",
		"header_up Host b.example\nheader_up -Host*":             "UPSTREAM",
		"header_up Host {http.request.host}\nignore_in_key host": "a.example",
	} {
		auth := newAuthServer(t)
		h := remembered(t, auth.url, "uri /api/verify\n"+lines)
		require.True(t, lookuptest.Serve(h, lookuptest.Get("http://a.example:8443/x", "Cookie", "auth=ada")).Next, lines)
		require.Equal(t, strings.ReplaceAll(want, "UPSTREAM", strings.TrimPrefix(auth.url, "http://")), auth.calls[0].Host, lines)
	}
}

// Sites under different names have answers of their own where the server is
// told the name.
func TestHostWithoutItsPortIsPartOfTheKey(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string][]int{
		"header_up Host {http.request.host}":                     {1, 0, 1},
		"header_up Host {http.request.hostport}":                 {1, 1, 1},
		"header_up Host {http.request.host}\nignore_in_key host": {1, 0, 0},
		"header_up Host auth.example":                            {1, 0, 0},
	} {
		auth := newAuthServer(t)
		h := remembered(t, auth.url, "uri /api/verify\nheader_up X-Forwarded-Host a\n"+lines)
		var asked []int
		for _, host := range []string{"a.example", "a.example:8443", "b.example"} {
			require.True(t, lookuptest.Serve(h, lookuptest.Get("http://"+host+"/x", "Cookie", "auth=ada")).Next)
			asked = append(asked, auth.asked())
		}
		require.Equal(t, want, asked, lines)
	}
}

// The credential that a client presents goes to the server that verifies it,
// and what the server makes of it takes its place.
func TestACredentialMayBeReplacedByTheServersAnswer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer ada":
			w.Header().Set("Authorization", "Basic upstream")
		case "Bearer plain":
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	for _, headers := range []string{"", "headers Authorization", "headers authorization Accept"} {
		h := remembered(t, server.URL, "uri /api/verify\ncopy_headers Authorization\n"+headers)
		for range 2 { // from the server, and from the cache
			for token, want := range map[string][]string{"Bearer ada": {"Basic upstream"}, "Bearer plain": nil} {
				got := lookuptest.Serve(h, lookuptest.Get("http://a.example/x", "Authorization", token))
				require.True(t, got.Next, headers)
				require.Equal(t, want, got.Request.Header.Values("Authorization"), "%s %s", headers, token)
			}
			forged := lookuptest.Get("http://a.example/x", "Authorization", "Basic upstream")
			require.Equal(t, http.StatusUnauthorized, lookuptest.Serve(h, forged).Status)
			require.Empty(t, forged.Header.Values("Authorization"))
		}
	}
}

func TestIgnoreInKeySavesCalls(t *testing.T) {
	t.Parallel()
	auth := newAuthServer(t)
	h := remembered(t, auth.url, "uri /api/verify\nignore_in_key uri method Accept")
	for _, path := range []string{"/a", "/b", "/c"} {
		require.True(t, lookuptest.Serve(h, lookuptest.Get("http://a.example"+path, "Cookie", "auth=ada", "Accept", path)).Next)
	}
	auth.mu.Lock()
	require.Equal(t, "/a", auth.calls[0].Header.Get("X-Forwarded-Uri"), "it is sent")
	auth.mu.Unlock()
	require.Equal(t, 1, auth.asked())
	lookuptest.Serve(h, lookuptest.Get("http://b.example/a", "Cookie", "auth=ada"))
	require.Equal(t, 1, auth.asked(), "the host counts")
}

// A page may keep its state in its query.
func TestLongURIsAreAskedFor(t *testing.T) {
	t.Parallel()
	auth := newAuthServer(t)
	h := remembered(t, auth.url, "uri /api/verify")
	long := "/?state=" + strings.Repeat("x", 30<<10)
	for range 2 {
		require.True(t, lookuptest.Serve(h, lookuptest.Get("http://a.example"+long, "Cookie", "auth=ada")).Next)
	}
	require.Equal(t, long, auth.calls[0].Header.Get("X-Forwarded-Uri"))
	require.Equal(t, 1, auth.asked())
	require.True(t, lookuptest.Serve(h, lookuptest.Get("http://a.example"+long+"y", "Cookie", "auth=ada")).Next)
	require.Equal(t, 1, auth.asked(), "its last byte is a part of the question")
	got := lookuptest.Serve(h, lookuptest.Get("http://a.example"+long+long, "Cookie", "auth=ada"))
	require.Equal(t, http.StatusBadRequest, got.Status)
	require.Equal(t, 0, auth.asked())
}

// Concurrent strangers that wait for one redirect each have a cookie of theirs.
func TestSetCookieGoesToOneClient(t *testing.T) {
	t.Parallel()
	auth := newAuthServer(t)
	h := remembered(t, auth.url, "uri /api/verify")
	var group sync.WaitGroup
	var mu sync.Mutex
	cookies := make(map[string]int)
	for range 20 {
		group.Go(func() {
			got := lookuptest.Serve(h, lookuptest.Get("http://a.example/"))
			mu.Lock()
			defer mu.Unlock()
			cookies[got.Header().Get("Set-Cookie")]++
		})
	}
	group.Wait()
	require.NotContains(t, cookies, "")
	require.Equal(t, 20, auth.asked(), "each asked for itself")
}

// Upstreams are written as in forward_auth.
func TestUpstreamsOfForwardAuth(t *testing.T) {
	t.Parallel()
	for upstream, want := range map[string]string{
		":9091":                  "http://localhost:9091/x",
		"http://:9091":           "http://localhost:9091/x",
		"auth:9091":              "http://auth:9091/x",
		"https://auth":           "https://auth/x",
		"HTTPS://auth/":          "https://auth/x",
		"h2c://auth:80":          "http://auth:80/x",
		"{env.AUTH}:9091":        "http://{env.AUTH}:9091/x",
		"[::1]:9091":             "http://[::1]:9091/x",
		"https://{env.AUTH}.int": "https://{env.AUTH}.int/x",
	} {
		a := new(forwardAuth)
		require.NoError(t, a.unmarshal(caddyfile.NewTestDispenser("cached_forward_auth "+upstream+" {\nuri /x\n}")), upstream)
		_, err := a.handler()
		require.NoError(t, err, upstream)
		require.Equal(t, want, a.source.URL, upstream)
		require.Equal(t, strings.HasPrefix(upstream, "h2c"), strings.Contains(string(a.source.TransportRaw), "h2c"), upstream)
	}
}

// What is sent is listed once, so that it is counted once against the longest
// identity.
func TestHeadersAreSentOnce(t *testing.T) {
	t.Parallel()
	a := new(forwardAuth)
	require.NoError(t, a.unmarshal(caddyfile.NewTestDispenser("cached_forward_auth a:1 {\nuri /x\nheaders Cookie authorization Authorization\n}")))
	h, err := a.handler()
	require.NoError(t, err)
	require.EqualValues(t, []string{"{http.request.header.Cookie}", "{http.request.header.Authorization}"}, h.ID)
}

// A field of a JSON answer may have the name of a header.
func TestAFieldIsNotTakenForAHeader(t *testing.T) {
	t.Parallel()
	a := new(forwardAuth)
	require.NoError(t, a.unmarshal(caddyfile.NewTestDispenser("cached_forward_auth a:1 {\nuri /x\ncopy_headers X-User>User\nrequire user anna\n}")))
	require.Equal(t, "user", a.session.Require[0].Field)
}

// Names of headers have no case.
func TestRequireReadsHeadersWhateverTheirCase(t *testing.T) {
	t.Parallel()
	auth := newAuthServer(t)
	for _, name := range []string{"Remote-User", "remote-user", "REMOTE-USER"} {
		for user, want := range map[string]int{"anna": http.StatusOK, "bob": http.StatusForbidden} {
			h := remembered(t, auth.url, "uri /api/verify\ncopy_headers "+name+"\nrequire headers.remote-User anna\ntag u:{http.session.headers.Remote-User}")
			require.Equal(t, []string{"u:{http.session.headers." + name + "}"}, h.Tags)
			for range 2 {
				got := lookuptest.Serve(h, lookuptest.Get("http://a.example/", "Cookie", "auth="+user))
				require.Equal(t, want, got.Status, "%s of %s", name, user)
			}
		}
	}
}

func TestForwardAuthErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"cached_forward_auth":                                                                             "takes one upstream",
		"cached_forward_auth a:1 b:2 {\nuri /x\n}":                                                        "takes one upstream",
		"cached_forward_auth a:1":                                                                         "needs the uri",
		"cached_forward_auth a:1/path {\nuri /x\n}":                                                       "write the path as uri",
		"cached_forward_auth ftp://a {\nuri /x\n}":                                                        "upstream",
		"cached_forward_auth a:1 {\nuri /x\nfrobnicate\n}":                                                "takes uri, copy_headers",
		"cached_forward_auth a:1 {\nuri /x\nlb_policy random\n}":                                          "does not take lb_policy: it asks one upstream",
		"cached_forward_auth a:1 {\nuri /x\nto b:2\n}":                                                    "does not take to: it asks one upstream",
		"cached_forward_auth a:1 {\nuri /x\nmethod POST\n}":                                               "it asks by GET",
		"cached_forward_auth a:1 {\nuri /x\nheader_down -X\n}":                                            "write handle_response",
		"cached_forward_auth a:1 {\nuri /x\nreplace_status 403\n}":                                        "write handle_response",
		"cached_forward_auth a:1 {\nuri /x\nheader_up A b c\n}":                                           "write the whole value",
		"cached_forward_auth a:1 {\nuri /x\nheader_up\n}":                                                 "header_up takes",
		"cached_forward_auth a:1 {\nuri /x\nheader_up ?A b\n}":                                            "'?A' is not the name of a header",
		"cached_forward_auth a:1 {\nuri /x\nheader_up \"\" b\n}":                                          "an argument that is empty",
		"cached_forward_auth a:1 {\nuri /x\nheader_up + b\n}":                                             "is not the name of a header",
		"cached_forward_auth a:1 {\nuri /x\nheader_up Host {http.request.uri}\n}":                         "header_up Host: want",
		"cached_forward_auth a:1 {\nuri /x\nheader_up +Host a\n}":                                         "write header_up Host",
		"cached_forward_auth a:1 {\nuri /x\nheader_up A {http.reverse_proxy.header.B}\n}":                 "placeholders of reverse_proxy",
		"cached_forward_auth a:1 {\nuri /x\nheader_up -Cookie\nheader_up -Authorization\n}":               "nothing identifies the client",
		"cached_forward_auth a:1 {\nuri /x\nheader_up -Cookie\ncookies a\nheaders Accept\n}":              "nothing identifies the client",
		"cached_forward_auth a:1 {\nuri /x\nheader_up +Cookie a=1\n}":                                     "use another header",
		"cached_forward_auth a:1 {\nuri /x\ntrusted_proxies\n}":                                           "trusted_proxies takes",
		"cached_forward_auth a:1 {\nuri /x\ntrusted_proxies office\n}":                                    "'office' is not a network",
		"cached_forward_auth a:1 {\nuri /x\ntransport fastcgi\n}":                                         "want transport http",
		"cached_forward_auth http://a:1 {\nuri /x\ntransport http {\ntls\n}\n}":                           "write https://",
		"cached_forward_auth unix//a {\nuri /x\ntransport http {\ndial_timeout 1s\n}\n}":                  "not possible with a unix socket",
		"cached_forward_auth a:1 {\nuri /x\n@a stat 401\n}":                                               "unrecognized response matcher",
		"cached_forward_auth a:1 {\nuri /x\nhandle_response @b {\n}\n}":                                   "there is no matcher @b",
		"cached_forward_auth a:1 {\nuri /x\nhandle_response 401 {\n}\n}":                                  "write @name status 401 above it",
		"cached_forward_auth {http.vars.up} {\nuri /x\n}":                                                 "a client must not choose which server is asked",
		"cached_forward_auth {http.request.host}:80 {\nuri /x\n}":                                         "a client must not choose which server is asked",
		"cached_forward_auth unix+h2c//a {\nuri /x\n}":                                                    "upstream",
		"cached_forward_auth a:1 {\nuri {http.request.uri}\n}":                                            "like: uri /auth?uri={uri}",
		"cached_forward_auth a:1 {\nuri /x{http.request.uri.path}\n}":                                     "like: uri /auth?uri={uri}",
		"cached_forward_auth a:1 {\nuri /x?{http.request.uri.query}\n}":                                   "like: uri /auth?query={query}",
		"cached_forward_auth a:1 {\nuri /x?a=b&{http.request.orig_uri.query}\n}":                          "like: uri /auth?query={query}",
		"cached_forward_auth a:1 {\nuri /x\ncookies a\nheaders Cookie\n}":                                 "leave out Cookie",
		"cached_forward_auth a:1 {\nuri /x\nrequire headers.A b\n}":                                       "write copy_headers A as well",
		"cached_forward_auth a:1 {\nuri /x\ncopy_headers B\nrequire headers.A b\n}":                       "write copy_headers A as well",
		"cached_forward_auth a:1 {\nuri /x\ncopy_headers Remote-User\nrequire remote-user b\n}":           "write require headers.Remote-User",
		"cached_forward_auth a:1 {\nuri /x\ncopy_headers Remote-User>X-User\nrequire headers.X-User b\n}": "write require headers.Remote-User",
		"cached_forward_auth a:1 {\nuri /x\ncopy_headers Remote-User>X-User\nrequire x-user b\n}":         "write require headers.Remote-User",
		"cached_forward_auth a:1 {\nuri /x\ncopy_headers B\ntag u:{http.session.headers.A}\n}":            "write copy_headers A as well",
		"cached_forward_auth a:1 {\nuri /x\ncopy_headers\n}":                                              "copy_headers takes",
		"cached_forward_auth a:1 {\nuri /x\nignore_in_key Cookie\n}":                                      "identifies the client",
		"cached_forward_auth a:1 {\nuri /x\nignore_in_key X-Not-There\n}":                                 "is not sent",
	} {
		a := new(forwardAuth)
		err := a.unmarshal(caddyfile.NewTestDispenser(text))
		if err == nil {
			err = a.parseResponses(httpcaddyfile.Helper{})
		}
		if err == nil {
			_, err = a.handler()
		}
		require.ErrorContains(t, err, want, text)
	}
}
