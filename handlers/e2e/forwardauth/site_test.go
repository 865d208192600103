// Caddy with pairs of sites: one with cached_forward_auth, one with forward_auth.

package forwardauth

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// counter is a proxy before an authentication server that records its requests.
type counter struct {
	url   string
	mu    sync.Mutex
	calls []*http.Request
}

func newCounter(t *testing.T, next http.Handler) *counter {
	t.Helper()
	c := new(counter)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls = append(c.calls, r.Clone(context.Background()))
		c.mu.Unlock()
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// to passes requests on unchanged.
func to(t *testing.T, target string) http.Handler {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.Out.Host = r.In.Host
		for name, values := range r.In.Header {
			if strings.HasPrefix(name, "X-Forwarded-") {
				r.Out.Header[name] = values
			}
		}
	}}
}

// asked returns the requests since its last call.
func (c *counter) asked() []*http.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

// newBackend starts the application behind Caddy. It returns the user headers and the
// body that it got; it echoes over an upgraded connection, and sends a first event and one
// for each value of events.
func newBackend(t *testing.T, events <-chan struct{}) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "echo" {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(conn, rw) // until the client leaves
			return
		}
		if r.URL.Path == "/events" {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := 0; ; i++ {
				fmt.Fprintf(w, "data: %d\n", i)
				if http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-events:
				case <-r.Context().Done():
					return
				}
			}
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		h := r.Header
		user := append(append(h["X-Auth-Request-User"], h["Remote-User"]...), h["X-Authentik-Username"]...)
		fmt.Fprintf(w, "%s %s as %q %s of %q: %s %s", r.Method, r.URL, user,
			append(h["Remote-Name"], h["X-Authentik-Name"]...), append(h["Remote-Groups"], h["X-Authentik-Groups"]...), body, h["X-Authentik-Jwt"])
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// sites is a running Caddy.
type sites struct {
	sitetest.Site
	t              *testing.T
	cached, oracle *counter // before the authentication server, one for each kind of site
	client         *http.Client
	events         chan struct{}
}

// pair is the text of two sites: AUTH is cached_forward_auth in the first, and
// forward_auth in the second. Text between <cached> and </cached> is in the first only. A
// pair whose name is (NAME) is a snippet.
type pair struct{ name, directives string }

var cachedOnly = regexp.MustCompile(`(?s)<cached>(.*?)</cached>`)

// serve runs pairs of sites: https is not needed, hosts are NAME.example.test
// and oracle-NAME.example.test.
func serve(t *testing.T, auth http.Handler, options string, pairs ...pair) *sites {
	t.Helper()
	s := &sites{
		Site: sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)},
		t:    t, cached: newCounter(t, auth), oracle: newCounter(t, auth), events: make(chan struct{}),
	}
	backend, redis := newBackend(t, s.events), redistest.Start(t)
	text := fmt.Sprintf(`{
	admin %s
	persist_config off
	grace_period 2s
	log {
		output discard
	}
	filewallball {
		redis %s
	}
	%s
}
`, s.Admin, redis.Addr(), options)
	for _, p := range pairs {
		for _, kind := range []struct {
			prefix, directive string
			upstream          *counter
		}{{"", "cached_forward_auth", s.cached}, {"oracle-", "forward_auth", s.oracle}} {
			directives := cachedOnly.ReplaceAllString(p.directives, map[bool]string{true: "$1"}[kind.prefix == ""])
			directives = strings.NewReplacer(
				"WORD", kind.directive,
				"AUTH", kind.directive+" "+strings.TrimPrefix(kind.upstream.url, "http://"),
				"UPSTREAM", strings.TrimPrefix(kind.upstream.url, "http://"),
				"BACKEND", "reverse_proxy "+backend,
				"import ", "import "+kind.prefix,
			).Replace(directives)
			if name, ok := strings.CutPrefix(p.name, "("); ok {
				text += fmt.Sprintf("(%s%s {\n%s\n}\n", kind.prefix, name, directives)
				continue
			}
			text += fmt.Sprintf("http://%s%s.example.test:%s {\nbind 127.0.0.1\n%s\n}\n", kind.prefix, p.name, s.port(), directives)
		}
	}
	config, err := sitetest.Adapt(text)
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() {
		require.NoError(t, caddy.Stop())
		http.DefaultClient.CloseIdleConnections()
	})
	s.client = s.newClient()
	return s
}

func (s *sites) port() string {
	_, port, _ := strings.Cut(s.Page, ":")
	return port
}

// newClient resolves every host of the sites to Caddy.
func (s *sites) newClient() *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.Contains(address, ".example.test:") {
			address = s.Page
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (s *sites) url(host, path string) string {
	return "http://" + host + ".example.test:" + s.port() + path
}

// send sends a request with headers, each a name and a value, to a host.
func (s *sites) send(host, method, path, body string, headers ...string) sitetest.Answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url(host, path), strings.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return sitetest.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(content)}
}

// compare sends a request to both sites of a pair, requires that the answers
// are the same, and returns that of the site with cached_forward_auth.
func (s *sites) compare(host, method, path, body string, headers ...string) sitetest.Answer {
	s.t.Helper()
	want := s.send("oracle-"+host, method, path, body, headers...)
	got := s.send(host, method, path, body, headers...)
	require.Equal(s.t, want.Status, got.Status, "%s %s %s: %s", method, host, path, got.Body)
	for _, name := range []string{"Location", "Content-Type", "WWW-Authenticate", "Access-Control-Allow-Origin"} {
		require.Equal(s.t, s.normal(want.Header.Get(name)), s.normal(got.Header.Get(name)), "%s of %s %s", name, method, path)
	}
	require.Equal(s.t, cookieNames(want), cookieNames(got))
	require.Equal(s.t, s.normal(want.Body), s.normal(got.Body), "%s %s %s", method, host, path)
	return got
}

// random matches the values that oauth2-proxy generates for each login.
var random = regexp.MustCompile(`(state=|nonce=|code_challenge=)[A-Za-z0-9_-]+`)

func (s *sites) normal(text string) string {
	text = random.ReplaceAllString(text, "$1")
	return strings.NewReplacer("oracle-", "", s.oracle.url, s.cached.url).Replace(text)
}

func cookieNames(a sitetest.Answer) (names []string) {
	resp := http.Response{Header: a.Header}
	for _, c := range resp.Cookies() {
		names = append(names, c.Name)
	}
	return names
}

// browser follows redirects and keeps cookies.
type browser struct {
	*http.Client
	s *sites
}

func (s *sites) browser() *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	b := &browser{s.newClient(), s}
	b.Jar, b.CheckRedirect = jar, nil
	return b
}

// visit requests a page, and returns the URL after redirects, and the page there.
func (b *browser) visit(host, path string) (where, body string) {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodGet, b.s.url(host, path), nil)
	require.NoError(b.s.t, err)
	req.Header.Set("Accept", "text/html")
	resp, err := b.Do(req)
	require.NoError(b.s.t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(b.s.t, err)
	return resp.Request.URL.String(), string(content)
}

// cookies are what the browser sends to a host.
func (b *browser) cookies(host string) string {
	b.s.t.Helper()
	u, err := url.Parse(b.s.url(host, "/"))
	require.NoError(b.s.t, err)
	var pairs []string
	for _, c := range b.Jar.Cookies(u) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}
