package metadata

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestMetadataRewritesTheRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ template, record, target, path, query string }{
		"path":                 {"/{http.file_metadata.path}", `{"path": "2026/a.pdf"}`, "/?id=1", "/2026/a.pdf", "id=1"},
		"below a directory":    {"/files/{http.file_metadata.path}", `{"path": "/a.pdf"}`, "/?id=1", "/files/a.pdf", "id=1"},
		"without a slash":      {"{http.file_metadata.path}", `{"path": "/a.pdf"}`, "/?id=1", "/a.pdf", "id=1"},
		"several fields":       {"/{http.file_metadata.dir}/{http.file_metadata.name}", `{"dir": "d", "name": "n"}`, "/?id=1", "/d/n", "id=1"},
		"identity":             {"/{http.file_metadata.id}.bin", `{}`, "/?id=1", "/1.bin", "id=1"},
		"other placeholders":   {"/{http.file_metadata.path}{http.request.uri.path}", `{"path": "a"}`, "/b%3Fc?id=1", "/a/b?c", "id=1"},
		"query":                {"/a?n={http.file_metadata.name}&x=1", `{"name": "a&b=c?d#e"}`, "/?id=1", "/a", "n=a%26b%3Dc%3Fd%23e&x=1"},
		"query in value":       {"/{http.file_metadata.path}", `{"path": "a?b=c"}`, "/?id=1", "/a?b=c", "id=1"},
		"fragment in value":    {"/{http.file_metadata.path}", `{"path": "a#b"}`, "/?id=1", "/a#b", "id=1"},
		"escape in value":      {"/{http.file_metadata.path}", `{"path": "a%2e%2e%2fb"}`, "/?id=1", "/a%2e%2e%2fb", "id=1"},
		"dots in value":        {"/files/{http.file_metadata.path}", `{"path": "../../etc/passwd"}`, "/?id=1", "/files/etc/passwd", "id=1"},
		"dots amid value":      {"/files/{http.file_metadata.path}", `{"path": "a/../../b"}`, "/?id=1", "/files/b", "id=1"},
		"URL in value":         {"/{http.file_metadata.path}", `{"path": "https://evil.example/x"}`, "/?id=1", "/https:/evil.example/x", "id=1"},
		"host in value":        {"{http.file_metadata.path}", `{"path": "//evil.example/x"}`, "/?id=1", "/evil.example/x", "id=1"},
		"control in value":     {"/{http.file_metadata.path}", `{"path": "a\r\nb"}`, "/?id=1", "/a\r\nb", "id=1"},
		"placeholder in path":  {"/{http.file_metadata.path}", `{"path": "{env.HOME}"}`, "/?id=1", "/{env.HOME}", "id=1"},
		"placeholder in query": {"/a?b={http.file_metadata.path}", `{"path": "{env.HOME}"}`, "/?id=1", "/a", "b=%7Benv.HOME%7D"},
		"directory":            {"/{http.file_metadata.path}", `{"path": "dir/"}`, "/?id=1", "/dir/", "id=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := metadata(t, `"rewrite": "`+c.template+`"`)
			app.Put(t, "file:meta:1", c.record)
			got := lookuptest.Serve(h, lookuptest.Get(c.target))
			require.True(t, got.Next)
			require.Equal(t, c.path, got.Request.URL.Path)
			require.Equal(t, c.query, got.Request.URL.RawQuery)
		})
	}
}

func TestMetadataWithoutTheFieldsOfARewriteIsAnError(t *testing.T) {
	t.Parallel()
	for _, record := range []string{`{"name": "a"}`, `{"path": ""}`, `{"path": "../.."}`} {
		app, h := metadata(t, `"rewrite": "/x/{http.file_metadata.path}"`)
		app.Put(t, "file:meta:1", record)
		got := lookuptest.Serve(h, lookuptest.Get("/b?id=1"))
		require.False(t, got.Next)
		require.Equal(t, 503, got.Status)
	}
	app, h := metadata(t, `"rewrite": "/{http.file_metadata.path}", "on_error": {"status": 502}`)
	app.Put(t, "file:meta:1", `{"size": 1}`)
	// HEAD too: what it says must be what GET would
	got := lookuptest.Serve(h, request("HEAD", "/?id=1"))
	require.Equal(t, 502, got.Status)
	require.False(t, got.Next)
}

func TestMetadataIsAnsweredUnderTheOriginalPath(t *testing.T) {
	t.Parallel()
	app, h := metadata(t, `"rewrite": "/{http.file_metadata.path}"`)
	app.Put(t, "file:meta:1", document)
	got := lookuptest.Serve(h, lookuptest.Get("/?id=1", "If-None-Match", `"abc"`))
	require.False(t, got.Next)
	require.Equal(t, 304, got.Status)
}

func FuzzURITemplate(f *testing.F) {
	for _, seed := range []string{"a/b", "../x", "a?b#c%2f", "{env.HOME}", "//h", "a/./..", "\x00", `..\..`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		text, err := json.Marshal(map[string]string{"path": value})
		require.NoError(t, err)
		record := recordOf(t, string(text))
		repl := caddy.NewReplacer()
		r := caddyhttp.PrepareRequest(lookuptest.Get("/before?q=1"), repl, nil, nil)
		lookup.FindingsOf(repl).File = lookup.Found{Outcome: cache.OutcomeHit, Record: record}
		template := parseURITemplate("/files/{http.file_metadata.path}", lookup.MetadataPrefix)
		uri, err := template.expand(repl)
		if err != nil {
			return
		}
		template.apply(r, repl, uri)
		require.True(t, strings.HasPrefix(r.URL.Path, "/files/"), r.URL.Path)
		require.NotContains(t, strings.Split(r.URL.Path, "/"), "..")
		require.Equal(t, "q=1", r.URL.RawQuery)
		require.Empty(t, r.URL.Fragment)
		require.Empty(t, r.URL.Host)
	})
}
