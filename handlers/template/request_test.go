package template

import (
	"context"
	"net/http"
	"net/http/httptest"
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
