package dashboard

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestPolicyAllowsThePagesOwnScriptsAlone(t *testing.T) {
	t.Parallel()
	ctx, _ := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, directiveName, `{}`)
	require.NoError(t, err)
	a := lookuptest.Serve(h, lookuptest.Get("/ops/"))
	require.Equal(t, http.StatusOK, a.Status)
	require.False(t, a.Next)
	policy, page := a.Header().Get("Content-Security-Policy"), a.Body.String()
	for element, source := range map[string]string{"script": "script-src", "style": "style-src"} {
		inline := regexp.MustCompile("(?s)<"+element+">(.*?)</"+element+">").FindAllStringSubmatch(page, -1)
		require.NotEmpty(t, inline)
		var allowed []string
		for _, directive := range strings.Split(policy, "; ") {
			if sources := strings.Fields(directive); sources[0] == source {
				allowed = sources[1:]
			}
		}
		require.Len(t, allowed, len(inline), "and nothing else")
		for _, m := range inline {
			hash := sha256.Sum256([]byte(m[1]))
			require.Contains(t, allowed, "'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'")
		}
	}
	require.Contains(t, policy, "default-src 'none'")
	require.Contains(t, policy, "frame-ancestors 'none'")
	require.NotContains(t, policy, "unsafe")
	markup := regexp.MustCompile("(?s)<(script|style)>.*?</(script|style)>").ReplaceAllString(page, "")
	require.NotRegexp(t, `\son[a-z]+=|\sstyle=|\ssrc=|https?:`, markup, "which the policy would refuse")
	require.Equal(t, "no-store", a.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", a.Header().Get("X-Content-Type-Options"))
}

func TestPageIsReadWithGet(t *testing.T) {
	t.Parallel()
	ctx, _ := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, directiveName, `{}`)
	require.NoError(t, err)
	head := lookuptest.Serve(h, httptest.NewRequest(http.MethodHead, "/", nil))
	require.Equal(t, http.StatusOK, head.Status)
	require.Empty(t, head.Body.String())
	require.NotEmpty(t, head.Header().Get("Content-Length"))
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		a := lookuptest.Serve(h, httptest.NewRequest(method, "/", nil))
		require.Equal(t, http.StatusMethodNotAllowed, a.Status)
		require.Equal(t, "GET, HEAD, POST", a.Header().Get("Allow"))
		require.False(t, a.Next)
	}
}

func TestCopyOfUPlotIsOneVersion(t *testing.T) {
	t.Parallel()
	version, err := os.ReadFile("assets/uplot/VERSION")
	require.NoError(t, err)
	require.Contains(t, string(asset("uplot/uPlot.iife.min.js")), "(v"+strings.TrimSpace(string(version))+")")
	license, err := os.ReadFile("assets/uplot/LICENSE")
	require.NoError(t, err)
	require.Contains(t, string(license), "MIT License")
}

func TestCaddyfile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Handler{
		"lookup_dashboard":               {},
		"lookup_dashboard {\n}":          {},
		"lookup_dashboard {\n purge \n}": {Purge: true},
	} {
		var h Handler
		require.NoError(t, h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)), text)
		require.Equal(t, want, h)
	}
	for text, message := range map[string]string{
		"lookup_dashboard page":                       "takes a matcher, like /dashboard*, and a block, but has 'page'",
		"lookup_dashboard {\n purge all \n}":          "purge takes no argument, but has 'all'",
		"lookup_dashboard {\n purge \n purge \n}":     "purge",
		"lookup_dashboard {\n title FileWallBall \n}": "unknown option 'title': lookup_dashboard takes purge",
	} {
		var h Handler
		require.ErrorContains(t, h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)), message, text)
	}
}
