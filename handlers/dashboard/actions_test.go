package dashboard

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// post sends what the form of the page sends.
func post(t *testing.T, h caddyhttp.MiddlewareHandler, body string, change ...func(*http.Request)) (status int, answer map[string]any) {
	t.Helper()
	page := lookuptest.Serve(h, lookuptest.Get("/"))
	cookies := page.Result().Cookies()
	require.Len(t, cookies, 1)
	require.Equal(t, http.SameSiteStrictMode, cookies[0].SameSite)
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.AddCookie(cookies[0])
	r.Header.Set(tokenHeader, cookies[0].Value)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range change {
		c(r)
	}
	a := lookuptest.Serve(h, r)
	require.NoError(t, json.Unmarshal(a.Body.Bytes(), &answer), a.Body.String())
	require.Equal(t, "no-store", a.Header().Get("Cache-Control"))
	return a.Status, answer
}

func TestKeyIsLookedUpAndPurged(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{"key_prefix": "web:"}`)
	h, err := lookuptest.NewHandler(ctx, directiveName, `{"purge": true}`)
	require.NoError(t, err)
	app.Put(t, "web:session:user:a", `{"user_id": 12345678901234567890}`)

	status, answer := post(t, h, `{"action": "get", "key": "web:session:user:a"}`)
	require.Equal(t, http.StatusOK, status)
	require.EqualValues(t, 3600, answer["ttl_seconds"])
	require.Equal(t, "{\n  \"user_id\": 12345678901234567890\n}", answer["value"], "digit by digit")

	for body, message := range map[string]string{
		`{"action": "get", "key": "web:session:user:b"}`:                     "there is no such key",
		`{"action": "get", "key": "session:user:a"}`:                         `does not begin with key_prefix: want one that begins with "web:"`,
		`{"action": "get", "key": "web:fwb:tag:x"}`:                          "reserved for the plugin",
		`{"action": "purge", "key": "web:fwb:nodes"}`:                        "reserved for the plugin",
		`{"action": "get", "key": "web:a\u0000"}`:                            "malformed",
		`{"action": "get"}`:                                                  "malformed",
		`{"action": "flush", "key": "web:a"}`:                                "want get or purge",
		`[]`:                                                                 `want {"action": "get"`,
		`{"action": "get", "key": "` + strings.Repeat("a", maxAction) + `"}`: `want {"action": "get"`,
	} {
		status, answer := post(t, h, body)
		require.GreaterOrEqual(t, status, 400, body)
		require.Less(t, status, 500, body)
		require.Contains(t, answer["error"], message)
	}

	status, answer = post(t, h, `{"action": "purge", "key": "web:session:user:a"}`)
	require.Equal(t, http.StatusOK, status)
	require.EqualValues(t, 1, answer["purged"])
	status, answer = post(t, h, `{"action": "purge", "key": "web:session:user:a"}`)
	require.Equal(t, http.StatusOK, status)
	require.EqualValues(t, 0, answer["purged"])
}

func TestNothingIsPurgedWithoutTheOptionPurge(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, directiveName, `{}`)
	require.NoError(t, err)
	app.Put(t, "session:user:a", `{}`)
	status, answer := post(t, h, `{"action": "purge", "key": "session:user:a"}`)
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, answer["error"], "the option purge")
	status, _ = post(t, h, `{"action": "get", "key": "session:user:a"}`)
	require.Equal(t, http.StatusOK, status, "still there")
}

func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, directiveName, `{"purge": true}`)
	require.NoError(t, err)
	app.Put(t, "session:user:a", `{}`)
	other := strings.Repeat("A", 43)
	for name, change := range map[string]func(*http.Request){
		"no token":                  func(r *http.Request) { r.Header.Del(tokenHeader) },
		"another token":             func(r *http.Request) { r.Header.Set(tokenHeader, other) },
		"no cookie":                 func(r *http.Request) { r.Header.Del("Cookie") },
		"neither":                   func(r *http.Request) { r.Header.Del("Cookie"); r.Header.Del(tokenHeader) },
		"empty ones":                func(r *http.Request) { r.Header.Set("Cookie", tokenCookie+"="); r.Header.Set(tokenHeader, "") },
		"short ones":                func(r *http.Request) { r.Header.Set("Cookie", tokenCookie+"=a"); r.Header.Set(tokenHeader, "a") },
		"another site":              func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a sister site":             func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"another site, old browser": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.example") },
	} {
		for _, action := range []string{"get", "purge"} {
			status, answer := post(t, h, `{"action": "`+action+`", "key": "session:user:a"}`, change)
			require.Equal(t, http.StatusForbidden, status, "%s: %s", name, action)
			require.NotContains(t, answer, "value")
		}
	}
	status, _ := post(t, h, `{"action": "get", "key": "session:user:a"}`)
	require.Equal(t, http.StatusOK, status, "still there")
}
