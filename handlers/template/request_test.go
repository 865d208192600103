package template

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// prepared is a request as Caddy's handlers get it.
func prepared(r *http.Request) (*http.Request, *caddy.Replacer) {
	repl := caddy.NewReplacer()
	return caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), nil), repl
}

func FuzzRequestIsReadAsCaddyReadsIt(f *testing.F) {
	for _, line := range []string{
		"", "a=1", "A=1; a=2", " a = 1 ;b", `a="q"; a=x`, `a="; a=2`, "a", "a=", "=1; a=1", "a=\x7f; a=ok", "a=b=c", "a=1\t; a=2",
		"ä=1", "a b=1", `a="x y"`, "a=,", ";;a=1;", "\u212aey=1; key=2", strings.Repeat("b=1;", 3000) + "a=1", strings.Repeat("b=1;", 2999) + "a=1",
	} {
		f.Add(line, "a=9", "a")
	}
	f.Add("a=1", "", "key")
	f.Fuzz(func(t *testing.T, first, second, name string) {
		r := httptest.NewRequest(http.MethodGet, "/some/path%2f", nil)
		r.Header["Cookie"] = []string{first, second}
		r.Header["X-Field"] = []string{first, second}
		r.Header["Once"] = []string{first}
		r, repl := prepared(r)
		caddyhttp.SetVar(r.Context(), "text", first)
		caddyhttp.SetVar(r.Context(), "number", 7)
		for _, text := range []string{
			"{http.request.cookie." + name + "}", "{http.request.header." + name + "}", "{http.request.header.x-field}",
			"{http.request.header.Once}", "{http.request.uri.path}", "{http.vars.text}", "{http.vars.number}", "{http.vars." + name + "}",
		} {
			if isCookieHeader(strings.Trim(text, "{}")) {
				continue // which Caddy joins with commas
			}
			require.Equal(t, repl.ReplaceAll(text, "-"), New(text).Expand(r, repl, "-"), "%q", text)
		}
	})
}

func TestForwardedForIsTheClientBehindTrustedProxies(t *testing.T) {
	t.Parallel()
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct{ peer, said, want string }{
		{"203.0.113.1", "198.51.100.1", "203.0.113.1"},
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1", "1.1.1.1, 198.51.100.1,10.0.0.2", "198.51.100.1"},
		{"10.0.0.1", "1.1.1.1, nonsense, 10.0.0.2", "10.0.0.2"},
		{"10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"fd00::1%eth0", "2001:db8::1", "2001:db8::1"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Forwarded-For", test.said)
		r.Header.Set("X-Forwarded-Proto", "wss")
		r.RemoteAddr = net.JoinHostPort(test.peer, "1234")
		r, repl := prepared(r)
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, test.peer)
		require.Equal(t, test.peer, New("{"+ForwardedFor+"}").Expand(r, repl, ""))
		require.Equal(t, "http", New("{"+ForwardedProto+"}").Expand(r, repl, ""))
		r = Trusting(r, networks)
		require.Equal(t, test.want, New("{"+ForwardedFor+"}").Expand(r, repl, ""), test.said)
		trusted := map[bool]string{false: "http", true: "wss"}[test.peer != "203.0.113.1"]
		require.Equal(t, trusted, New("{"+ForwardedProto+"}").Expand(r, repl, ""))
	}
}

func TestCookieLinesAreJoinedAsOne(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Cookie"] = []string{"a=1; b=2", "a=3"}
	r, repl := prepared(r)
	for text, want := range map[string]string{
		"{http.request.header.Cookie}":                       "a=1; b=2; a=3",
		"{http.request.header.cookie}":                       "a=1; b=2; a=3",
		"<{http.request.header.COOKIE}> {unknown}":           "<a=1; b=2; a=3> -",
		"{http.request.method}{http.request.header.Cookie}-": "GETa=1; b=2; a=3-",
	} {
		require.Equal(t, want, New(text).Expand(r, repl, "-"), text)
	}
	require.Equal(t, "1;3", NewAllCookies("{http.request.cookie.a}").Expand(r, repl, "-"))
	r.Header.Del("Cookie")
	require.Equal(t, "<->", New("<{http.request.header.Cookie}>").Expand(r, repl, "-"))
}

func TestOriginalPath(t *testing.T) {
	t.Parallel()
	r, repl := prepared(httptest.NewRequest(http.MethodGet, "/before", nil))
	r.URL.Path = "/after"
	require.Equal(t, "/before", OriginalPath(r, repl))
	require.Equal(t, "/before", OriginalPath(nil, repl))
	require.Empty(t, OriginalPath(r.WithContext(context.Background()), caddy.NewEmptyReplacer()))
}

func TestForwardedComesFromTrustedProxiesAlone(t *testing.T) {
	t.Parallel()
	expand := func(trusted bool, headers ...string) string {
		r := httptest.NewRequest(http.MethodGet, "http://site.example:8080/", nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		r, repl := prepared(r)
		caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, trusted)
		for _, name := range []string{ForwardedProto, ForwardedHost} {
			err, _ := CheckPlaceholder(name)
			require.NoError(t, err)
		}
		return New("{"+ForwardedProto+"}").Expand(r, repl, "") + " " + New("{"+ForwardedHost+"}").Expand(r, repl, "")
	}
	said := []string{"X-Forwarded-Proto", "x", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "public.example"}
	require.Equal(t, "http site.example:8080", expand(false))
	require.Equal(t, "http site.example:8080", expand(true))
	require.Equal(t, "http site.example:8080", expand(false, said...))
	require.Equal(t, "https public.example", expand(true, said...))
}

func BenchmarkExpandCookie(b *testing.B) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "theme=dark; lang=en; session=0123456789abcdef; consent=1")
	r, repl := prepared(r)
	t := New("{http.request.cookie.session}")
	for name, r := range map[string]*http.Request{"Request": r, "Replacer": nil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.Expand(r, repl, "")
			}
		})
	}
}
