package metadata

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// metadata is a file_metadata over an app of its own, whose identity is the
// query parameter id. The config is what its JSON has beside it.
func metadata(t testing.TB, config string) (*lookuptest.App, caddyhttp.MiddlewareHandler) {
	t.Helper()
	ctx, app := lookuptest.NewApp(t, `{}`)
	if config != "" {
		config = ", " + config
	}
	h, err := lookuptest.NewHandler(ctx, "file_metadata", `{"id": "{http.request.uri.query.id}"`+config+`}`)
	require.NoError(t, err)
	return app, h
}

const document = `{"name": "document.pdf", "size": 1024000, "etag": "abc", "modified": 1772600767,
	"cache_control": "max-age=60", "path": "2026/doc ument.pdf"}`

func request(method, target string, header ...string) *http.Request {
	r := lookuptest.Get(target, header...)
	r.Method = method
	return r
}

// headers are those of a response in one line each, but Cache-Status.
func headers(w http.ResponseWriter) string {
	h := w.Header().Clone()
	h.Del("Cache-Status")
	var b strings.Builder
	_ = h.Write(&b)
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "\r\n", "\n")
}

func TestMetadataOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record, config, method, target string
		status                         int
		next                           bool
		outcome, cacheStatus           string
	}{
		"found":                     {document, "", "GET", "/?id=1", 200, true, "hit", "file_metadata; hit; ttl=1h; detail=memory"},
		"absent":                    {"", "", "GET", "/?id=1", 404, false, "absent", "file_metadata; fwd=miss; detail=absent"},
		"known absence":             {"null", "", "HEAD", "/?id=1", 404, false, "absent", "file_metadata; hit; ttl=1h; detail=absent"},
		"absent, POST":              {"", "", "POST", "/?id=1", 200, true, "absent", "file_metadata; fwd=miss; detail=absent"},
		"absent, continue":          {"", `"on_missing": {"continue": true}`, "GET", "/?id=1", 200, true, "absent", "file_metadata; fwd=miss; detail=absent"},
		"absent, 410":               {"", `"on_missing": {"status": 410}`, "GET", "/?id=1", 410, false, "absent", "file_metadata; fwd=miss; detail=absent"},
		"absent, no answer":         {"", `"answer": false`, "GET", "/?id=1", 200, true, "absent", "file_metadata; fwd=miss; detail=absent"},
		"refused":                   {`{"denied": 451}`, "", "GET", "/?id=1", 403, false, "denied", "file_metadata; hit; ttl=1h; detail=denied"},
		"refused, POST":             {`{"denied": 451}`, "", "POST", "/?id=1", 403, false, "denied", "file_metadata; hit; ttl=1h; detail=denied"},
		"refused, continue":         {`{"denied": 451}`, `"on_denied": {"continue": true}`, "GET", "/?id=1", 200, true, "denied", "file_metadata; hit; ttl=1h; detail=denied"},
		"no identity":               {document, "", "GET", "/", 200, true, "none", ""},
		"malformed identity":        {document, "", "GET", "/?id=%00", 400, false, "none", ""},
		"malformed identity, POST":  {document, `"on_error": {"continue": true}`, "POST", "/?id=%ff", 400, false, "none", ""},
		"a field of an application": {`{"regular": false, "size": 3}`, "", "HEAD", "/?id=1", 200, false, "hit", "file_metadata; hit; ttl=1h; detail=memory"},
		"no validators":             {`{"size": 3}`, "", "GET", "/?id=1", 200, true, "hit", "file_metadata; hit; ttl=1h; detail=memory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := metadata(t, c.config)
			if c.record != "" {
				app.Put(t, "file:meta:1", c.record)
			}
			got := lookuptest.Serve(h, request(c.method, c.target))
			require.Equal(t, c.status, got.Status)
			require.Equal(t, c.next, got.Next)
			require.Equal(t, c.outcome, got.Placeholder("http.file_metadata.outcome"))
			require.Equal(t, c.cacheStatus, got.CacheStatus())
			lookups := app.Cache().Stats().Snapshot().All.TotalRequests
			require.Equal(t, c.outcome != "none", lookups == 1, "%d lookups", lookups)
		})
	}
}

func TestMalformedIdentitiesPassNoGate(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	gate, err := lookuptest.NewHandler(ctx, "file_metadata", `{"id": "{http.request.uri.path}",
		"on_missing": {"status": 404}, "on_denied": {"status": 403}, "on_error": {"status": 503}}`)
	require.NoError(t, err)
	app.Put(t, "file:meta:/files/secret.txt", `{"denied": 403}`)
	for _, path := range []string{
		"/files/" + strings.Repeat("./", 4200) + "secret.txt", "/files/secret.txt%00", "/files/%ff/../secret.txt", "/files/secret.txt%C2%85",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"} {
			got := lookuptest.Serve(gate, request(method, path))
			require.False(t, got.Next)
			require.Equal(t, http.StatusBadRequest, got.Status)
		}
	}
	// a source that gates nothing leaves them to the next handler
	files, err := lookuptest.NewHandler(ctx, "file_metadata", `{"key": "files:{id}", "source": {"source": "file_system", "root": "`+t.TempDir()+`"}}`)
	require.NoError(t, err)
	for _, path := range []string{"/" + strings.Repeat("long", 3000), "/%ff", "/a%00"} {
		require.True(t, lookuptest.Serve(files, lookuptest.Get(path)).Next)
	}
}

func TestAFailedLookupIsNoFileWhereItWouldBeRewritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rewrite string
		onError *lookup.Reaction
		want    int
	}{
		{"", nil, 200},
		{"/{http.file_metadata.path}", nil, 503},
		{"/{http.file_metadata.path}", &lookup.Reaction{Continue: true}, 200},
	} {
		var m Handler
		m.Rewrite, m.OnError = c.rewrite, c.onError
		scripted(t, &m, &brokenSource{err: errors.New("broken")})
		require.Equal(t, c.want, lookuptest.Serve(&m, lookuptest.Get("/")).Status)
	}
}

func TestSizesNearTheLargestHaveNoNegativeLength(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"9223372036854775807", "9223372036854775806", "4611686018427387904", "1152921504606846976"} {
		app, h := metadata(t, "")
		app.Put(t, "file:meta:1", `{"name": "a.bin", "size": `+size+`}`)
		for _, ranges := range []string{
			"bytes=0-,0-", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-", "bytes=1-,-1", "bytes=0-0", "bytes=0-", "bytes=-9223372036854775807",
			"bytes=0-1,5-9223372036854775807", "bytes=9223372036854775806-", "bytes=0-" + strings.Repeat(",1-", 2000),
		} {
			got := lookuptest.Serve(h, request("HEAD", "/?id=1", "Range", ranges))
			require.NotContains(t, got.Header().Get("Content-Length"), "-", ranges)
			require.NotEqual(t, "0", got.Header().Get("Content-Length"), ranges)
			require.Contains(t, []int{200, 206, 416}, got.Status)
		}
	}
}

func TestMetadataIsPublished(t *testing.T) {
	t.Parallel()
	app, h := metadata(t, "")
	app.Put(t, "file:meta:1", `{"name": "a.txt", "owner": {"id": 7}}`)
	got := lookuptest.Serve(h, lookuptest.Get("/?id=1"))
	require.Equal(t, "1", got.Placeholder("http.file_metadata.id"))
	require.Equal(t, "a.txt", got.Placeholder("http.file_metadata.name"))
	require.Equal(t, "7", got.Placeholder("http.file_metadata.owner.id"))
	require.Empty(t, got.Placeholder("http.file_metadata.nothing"))
}

func TestMetadataAnswersWithoutTheFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, record string
		header         []string
		status         int
		want           string
	}{
		"HEAD": {"HEAD", document, nil, 200, `Accept-Ranges: bytes
Cache-Control: max-age=60
Content-Length: 1024000
Content-Type: application/pdf
Etag: "abc"
Last-Modified: Wed, 04 Mar 2026 05:06:07 GMT
Vary: Accept-Encoding`},
		"HEAD of an empty file": {"HEAD", `{"size": 0}`, nil, 200, `Accept-Ranges: bytes
Content-Length: 0
Vary: Accept-Encoding`},
		"HEAD of a range": {"HEAD", document, []string{"Range", "bytes=0-9"}, 206, `Accept-Ranges: bytes
Cache-Control: max-age=60
Content-Length: 10
Content-Range: bytes 0-9/1024000
Content-Type: application/pdf
Etag: "abc"
Last-Modified: Wed, 04 Mar 2026 05:06:07 GMT
Vary: Accept-Encoding`},
		"HEAD beyond the end": {"HEAD", document, []string{"Range", "bytes=2000000-"}, 416, `Content-Range: bytes */1024000
Content-Type: text/plain; charset=utf-8
Vary: Accept-Encoding
X-Content-Type-Options: nosniff`},
		"same tag": {"GET", document, []string{"If-None-Match", `"abc"`}, 304, `Cache-Control: max-age=60
Etag: "abc"
Vary: Accept-Encoding`},
		"same date": {"GET", document, []string{"If-Modified-Since", testDate}, 304, `Cache-Control: max-age=60
Etag: "abc"
Vary: Accept-Encoding`},
		"same date, compressed or not": {"GET", document, []string{"If-Modified-Since", testDate, "Accept-Encoding", "gzip"}, 304, `Cache-Control: max-age=60
Etag: "abc"
Vary: Accept-Encoding`},
		"same date without tag": {"GET", `{"modified": 1772600767}`, []string{"If-Modified-Since", testDate}, 304, `Last-Modified: Wed, 04 Mar 2026 05:06:07 GMT
Vary: Accept-Encoding`},
		"another tag is wanted": {"GET", document, []string{"If-Match", `"b"`}, 412, `Content-Type: application/pdf
Etag: "abc"
Last-Modified: Wed, 04 Mar 2026 05:06:07 GMT
Vary: Accept-Encoding`},
		"any tag is known": {"GET", `{"size": 1}`, []string{"If-None-Match", "*"}, 304, "Vary: Accept-Encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := metadata(t, "")
			app.Put(t, "file:meta:1", c.record)
			got := lookuptest.Serve(h, request(c.method, "/?id=1", c.header...))
			require.NoError(t, got.Err)
			require.False(t, got.Next)
			require.Equal(t, c.status, got.Status)
			require.Equal(t, c.want, headers(got))
		})
	}
}

func TestMetadataLeavesToNext(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, record, config string
		header                 []string
	}{
		"GET":                           {"GET", document, "", nil},
		"another tag":                   {"GET", document, "", []string{"If-None-Match", `"b"`}},
		"POST":                          {"POST", document, "", []string{"If-None-Match", `"abc"`}},
		"HEAD without size":             {"HEAD", `{"etag": "abc"}`, "", nil},
		"tag that is not known":         {"HEAD", `{"size": 1}`, "", []string{"If-None-Match", `"abc"`}},
		"date that is not known":        {"HEAD", `{"size": 1, "etag": "a"}`, "", []string{"If-Modified-Since", testDate}},
		"answer off, HEAD":              {"HEAD", document, `"answer": false`, nil},
		"answer off, same tag":          {"GET", document, `"answer": false`, []string{"If-None-Match", `"abc"`}},
		"compressed file, HEAD":         {"HEAD", `{"size": 1, "etag": "a", "encodings": ["gzip"]}`, "", []string{"Accept-Encoding", "gzip"}},
		"compressed file, wanted tag":   {"GET", `{"size": 1, "etag": "a", "encodings": ["gzip"]}`, "", []string{"Accept-Encoding", "br, gzip", "If-Match", `"b"`}},
		"precondition fails, for POST":  {"PUT", document, "", []string{"If-Match", `"b"`}},
		"weak tag is wanted, not known": {"GET", `{"size": 1}`, "", []string{"If-Match", `W/"b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := metadata(t, c.config)
			app.Put(t, "file:meta:1", c.record)
			require.True(t, lookuptest.Serve(h, request(c.method, "/?id=1", c.header...)).Next)
		})
	}
}

func TestMetadataKeepsWhatNextWouldDecideDifferently(t *testing.T) {
	t.Parallel()
	app, h := metadata(t, "")
	app.Put(t, "file:meta:1", document)
	got := lookuptest.Serve(h, lookuptest.Get("/?id=1", "If-Match", `"abc"`, "If-Modified-Since", dayBefore, "Range", "bytes=0-1",
		"If-Range", testDate, "Accept-Encoding", "gzip"))
	require.True(t, got.Next)
	// the client has the file as it is, so a compressed one would not do
	require.Equal(t, http.Header{"Range": {"bytes=0-1"}, "If-Range": {testDate}}, got.Request.Header)
}

func TestMetadataDescribesTheAnswerOfNext(t *testing.T) {
	t.Parallel()
	write := func(status int, body string, header ...string) caddyhttp.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) error {
			for i := 0; i < len(header); i += 2 {
				w.Header().Add(header[i], header[i+1])
			}
			if status != 0 {
				w.WriteHeader(status)
			}
			_, err := io.Copy(w, strings.NewReader(body))
			return err
		}
	}
	for name, c := range map[string]struct {
		record, config string
		next           caddyhttp.HandlerFunc
		request        []string
		before         []string // response headers of earlier handlers
		want           string
	}{
		"plain": {document, "", write(200, "x"), nil, nil, `Cache-Control: max-age=60
Content-Type: application/pdf
Etag: "abc"`},
		"implicit status": {document, `"disposition": "attachment"`, write(0, "x"), nil, nil, `Cache-Control: max-age=60
Content-Disposition: attachment; filename="document.pdf"
Content-Type: application/pdf
Etag: "abc"`},
		"inline": {`{"name": "a.txt"}`, `"disposition": "inline"`, write(200, ""), nil, nil, `Content-Disposition: inline; filename="a.txt"
Content-Type: text/plain; charset=utf-8`},
		"attachment without name": {`{}`, `"disposition": "attachment"`, write(200, ""), nil, nil, `Content-Disposition: attachment`},
		"disposition off":         {`{"name": "a"}`, `"disposition": "off"`, write(200, ""), nil, nil, ""},
		"headers were there": {document, "", write(200, "x"), nil, []string{"Etag", `"mine"`, "Cache-Control", "no-store", "Content-Type", "x/y"}, `Cache-Control: no-store
Content-Type: x/y
Etag: "mine"`},
		"next has its own": {document, "", write(200, "x", "Etag", `"own"`, "Content-Type", "x/y", "Cache-Control", "no-cache"), nil, nil, `Cache-Control: no-cache
Content-Type: x/y
Etag: "own"`},
		"same date": {document, "", write(200, "x", "Last-Modified", testDate), nil, nil, `Cache-Control: max-age=60
Content-Type: application/pdf
Etag: "abc"
Last-Modified: Wed, 04 Mar 2026 05:06:07 GMT`},
		"another date": {document, "", write(200, "x", "Last-Modified", dayAfter), nil, nil, `Cache-Control: max-age=60
Content-Type: application/pdf
Last-Modified: Thu, 05 Mar 2026 05:06:07 GMT`},
		"another size": {document, "", write(200, "x", "Content-Length", "1"), nil, nil, `Cache-Control: max-age=60
Content-Length: 1
Content-Type: application/pdf`},
		"another size, part of it": {document, "", write(206, "x", "Content-Range", "bytes 0-0/7"), nil, nil, `Cache-Control: max-age=60
Content-Range: bytes 0-0/7
Content-Type: application/pdf`},
		"same size, part of it": {document, "", write(206, "x", "Content-Range", "bytes 0-0/1024000"), nil, nil, `Cache-Control: max-age=60
Content-Range: bytes 0-0/1024000
Content-Type: application/pdf
Etag: "abc"`},
		"not found":                          {document, `"disposition": "inline"`, write(404, "x"), nil, nil, ""},
		"not found, with headers of its own": {document, "", write(404, "x", "Cache-Control", "no-store", "Etag", `"own"`), nil, nil, "Cache-Control: no-store\nEtag: \"own\""},
		"moved":                              {document, "", write(302, "", "Location", "/"), nil, nil, "Location: /"},
		"not modified":                       {document, `"disposition": "inline", "answer": false`, write(304, ""), nil, nil, "Cache-Control: max-age=60\nContent-Type: application/pdf\nEtag: \"abc\""},
		"compressed behind our back": {document, "", write(200, "x", "Content-Encoding", "gzip"), nil, nil, `Cache-Control: max-age=60
Content-Encoding: gzip
Content-Type: application/pdf
Etag: W/"abc"`},
		"compressed file": {`{"etag": "a", "encodings": ["gzip"]}`, "", write(200, "x", "Content-Encoding", "gzip", "Etag", `"z"`), []string{"Accept-Encoding", "gzip"}, nil, `Content-Encoding: gzip
Etag: "z"`},
		"compressed file, not selected": {`{"etag": "a", "encodings": ["gzip"]}`, "", write(200, "x", "Etag", `"own"`), []string{"Accept-Encoding", "gzip"}, nil, `Etag: "a"`},
		"compressed file, not accepted": {`{"etag": "a", "encodings": ["gzip"]}`, "", write(200, "x"), []string{"Accept-Encoding", "gzip;q=0"}, nil, `Etag: "a"`},
		"unsafe values":                 {`{"etag": "a\nb", "content_type": "a\r\nb", "cache_control": "a\u0000"}`, "", write(200, ""), nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := metadata(t, c.config)
			app.Put(t, "file:meta:1", c.record)
			w := httptest.NewRecorder()
			for i := 0; i < len(c.before); i += 2 {
				w.Header().Set(c.before[i], c.before[i+1])
			}
			r := caddyhttp.PrepareRequest(lookuptest.Get("/?id=1", c.request...), caddy.NewReplacer(), w, nil)
			require.NoError(t, h.ServeHTTP(w, r, c.next))
			require.Equal(t, c.want, headers(w))
		})
	}
}

// A cache takes the date of a 304 over, so it must be that of the record, or
// the next change would not be seen.
func TestNotModifiedHasTheDateOfTheRecord(t *testing.T) {
	t.Parallel()
	app, h := metadata(t, "")
	app.Put(t, "file:meta:1", `{"modified": 1772600767}`)
	w := httptest.NewRecorder()
	w.Header().Set("Last-Modified", dayAfter)
	r := caddyhttp.PrepareRequest(lookuptest.Get("/?id=1", "If-Modified-Since", testDate), caddy.NewReplacer(), w, nil)
	require.NoError(t, h.ServeHTTP(w, r, nil))
	require.Equal(t, http.StatusNotModified, w.Code)
	require.Equal(t, testDate, w.Header().Get("Last-Modified"))
}

func TestMetadataDoesNotDescribeAnErrorPage(t *testing.T) {
	t.Parallel()
	app, h := metadata(t, `"disposition": "attachment"`)
	app.Put(t, "file:meta:1", document)
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(lookuptest.Get("/?id=1"), caddy.NewReplacer(), w, nil)
	gone := errors.New("gone")
	require.ErrorIs(t, h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		require.Equal(t, `"abc"`, w.Header().Get("Etag"))
		return gone
	})), gone)
	require.Empty(t, headers(w))
}

func TestMetadataDoesNotAnswerForAnErrorPage(t *testing.T) {
	t.Parallel()
	app, h := metadata(t, "")
	app.Put(t, "file:meta:1", document)
	r := lookuptest.Get("/?id=1", "If-None-Match", `"abc"`)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ErrorCtxKey, error(caddyhttp.Error(404, nil))))
	got := lookuptest.Serve(h, r)
	require.True(t, got.Next)
	require.Empty(t, got.Header().Get("Etag"))
	require.NotEmpty(t, got.Request.Header.Get("If-None-Match"))
}

func TestMetadataFlushesThroughTheDescription(t *testing.T) {
	t.Parallel()
	app, h := metadata(t, "")
	app.Put(t, "file:meta:1", document)
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(lookuptest.Get("/?id=1"), caddy.NewReplacer(), w, nil)
	require.NoError(t, h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusEarlyHints)
		return http.NewResponseController(w).Flush()
	})))
	require.True(t, w.Flushed)
	require.Equal(t, "application/pdf", w.Header().Get("Content-Type"))
}

// brokenSource is a source whose answer is scripted.
type brokenSource struct {
	loaded cache.Loaded
	err    error
}

func (*brokenSource) Name() string { return "broken" }
func (b *brokenSource) Load(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) {
	return b.loaded, b.err
}

// scriptedSources are the sources of tests, by the names in configurations.
var scriptedSources sync.Map

// scriptedSource is the Caddy module of a source that a test has made.
type scriptedSource struct {
	Test string `json:"test"`
	cache.Source
}

func (*scriptedSource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "filewallball.sources.scripted", New: func() caddy.Module { return new(scriptedSource) }}
}

func (s *scriptedSource) Provision(caddy.Context) error {
	source, _ := scriptedSources.Load(s.Test)
	s.Source = source.(cache.Source)
	return nil
}

// scripted provisions a file_metadata over a source.
func scripted(t *testing.T, m *Handler, source cache.Source) {
	t.Helper()
	ctx, _ := lookuptest.NewApp(t, `{}`)
	name := rand.Text()
	scriptedSources.Store(name, source)
	t.Cleanup(func() { scriptedSources.Delete(name) })
	m.ID, m.SourceRaw = lookup.Identity{"1"}, json.RawMessage(`{"source": "scripted", "test": "`+name+`"}`)
	require.NoError(t, m.Provision(ctx))
	require.NoError(t, m.Validate())
}

func TestUnknownMetadataBreaksNothing(t *testing.T) {
	t.Parallel()
	var m Handler
	scripted(t, &m, &brokenSource{err: errors.New("broken")})
	got := lookuptest.Serve(&m, lookuptest.Get("/"))
	require.True(t, got.Next)
	require.Equal(t, "error", got.Placeholder("http.file_metadata.outcome"))
	require.Equal(t, "file_metadata; fwd=bypass; detail=error", got.Header().Get("Cache-Status"))

	var strict Handler
	strict.OnError = &lookup.Reaction{Status: 503}
	scripted(t, &strict, &brokenSource{err: errors.New("broken")})
	got = lookuptest.Serve(&strict, lookuptest.Get("/"))
	require.False(t, got.Next)
	require.Equal(t, 503, got.Status)
	require.ErrorContains(t, got.Err, "broken")
}

type teapot struct{}

var _ lookup.Responder = teapot{}

func (teapot) Answer() (int, http.Header)  { return http.StatusTeapot, nil }
func (teapot) Serve(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) }
func (teapot) Forward(http.Header)         {}

func TestMetadataServesTheSourcesResponse(t *testing.T) {
	t.Parallel()
	var m Handler
	scripted(t, &m, &brokenSource{loaded: cache.Loaded{Response: teapot{}}})
	got := lookuptest.Serve(&m, lookuptest.Get("/"))
	require.False(t, got.Next)
	require.Equal(t, http.StatusTeapot, got.Status)
}

func TestMetadataRefusesWrongConfiguration(t *testing.T) {
	t.Parallel()
	ctx, _ := lookuptest.NewApp(t, `{}`)
	for config, want := range map[string]string{
		`{}`:                                     "there is no identity",
		`{"id": "a", "disposition": "download"}`: "want attachment, inline or off",
		`{"id": "a", "on_missing": {"redirect": "/"}}`:            "take no redirect",
		`{"id": "a", "on_error": {"status": 200}}`:                "on_error: status 200 is not an error",
		`{"id": "a", "source": {"source": "nowhere"}}`:            "unknown module",
		`{"source": {"source": "file_system", "hash": "md5"}}`:    "hash is 'md5': want sha256",
		`{"source": {"source": "file_system", "revalidate": -1}}`: "revalidate cannot be negative",
	} {
		_, err := lookuptest.NewHandler(ctx, "file_metadata", config)
		require.ErrorContains(t, err, want, config)
	}
}
