package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// newWarmApp is an app with lookups of it, from the JSON of their handlers.
func newWarmApp(t *testing.T, handlers ...string) *lookuptest.App {
	t.Helper()
	ctx, app := lookuptest.NewApp(t, `{}`)
	for _, config := range handlers {
		module, config, _ := strings.Cut(config, " ")
		_, err := lookuptest.NewHandler(ctx, module, config)
		require.NoError(t, err)
	}
	return app
}

// warm warms, and returns the last line of the answer.
func (c adminClient) warm(t *testing.T, body string) (last wire.WarmProgress) {
	t.Helper()
	a := c.do(t, http.MethodPost, "warm", body)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Equal(t, "application/x-ndjson", a.Header.Get("Content-Type"))
	for line := range strings.Lines(a.Body) {
		require.False(t, last.Finished, "more follows the last line")
		last = wire.WarmProgress{}
		require.NoError(t, json.Unmarshal([]byte(line), &last), line)
	}
	require.Equal(t, last.Done, last.Loaded+last.Present+last.Absent+last.Denied+last.Errors)
	last.Seconds, last.PerSecond = 0, 0
	return last
}

// answering is a source of records by the last part of the path. It counts
// what it was asked.
func answering(t *testing.T) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch id := r.URL.Path[1:]; {
		case id == "secret" || strings.Contains(r.Header.Get("Cookie"), "secret"):
			w.WriteHeader(http.StatusForbidden)
		case id == "none":
			w.WriteHeader(http.StatusNotFound)
		case id == "broken":
			w.WriteHeader(http.StatusInternalServerError)
		case id == "fleeting":
			w.Header().Set("Cache-Control", "no-store")
			fallthrough
		default:
			fmt.Fprintf(w, `{"name": %q, "owner": "u1", "cookie": %q}`, id, r.Header.Get("Cookie"))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestWarmLoadsByIdentityWithoutCountingLookups(t *testing.T) {
	url, asked := answering(t)
	app := newWarmApp(t, `file_metadata {"id": "{http.request.uri.path}", "name": "downloads",
		"tags": ["owner:{http.file_metadata.owner}"], "source": {"source": "http", "url": "`+url+`/{id}"}}`)
	c := startAdmin(t, app)
	app.Put(t, "file:meta:there", `{"name": "there"}`)
	app.Put(t, "file:meta:known", `null`)
	app.Put(t, "file:meta:odd", `{}`)
	body := `{"route": "downloads", "ids": ["a", "b", "there", "known", "none", "secret", "fleeting", "broken", "", "x\u0000", "a"], "concurrency": 1}`
	require.Equal(t, wire.WarmProgress{
		Done: 11, Total: 11, Loaded: 3, Present: 3, Absent: 1, Denied: 1, Errors: 3, Unstored: 1, Finished: true,
		Failed: []wire.WarmFailure{{Index: 7, Error: "the source failed"}, {Index: 8, Error: "empty identity"}, {Index: 9, Error: "malformed identity: it has a control character"}},
	}, c.warm(t, body))
	require.EqualValues(t, 6, asked.Load())
	require.Contains(t, c.get(t, "keys/file:meta:a").Body, `"owner": "u1"`)
	snap := app.Cache().Stats().Snapshot()
	require.Zero(t, snap.All.TotalRequests, "a warm-up was counted as a lookup")
	require.EqualValues(t, 6, snap.Sources["http"].Requests, "but the source was asked")

	require.Equal(t, wire.WarmProgress{Done: 1, Total: 1, Present: 1, Finished: true}, c.warm(t, `{"route": "downloads", "ids": ["b"]}`))
	require.Equal(t, wire.WarmProgress{Finished: true}, c.warm(t, `{"route": "downloads", "ids": []}`))
	require.EqualValues(t, 6, asked.Load())
	require.NoError(t, app.Cache().DropTag(t.Context(), "owner:u1"))
	for _, id := range []string{"a", "b"} {
		require.Equal(t, 404, c.get(t, "keys/file:meta:"+id).Status, "what is warmed is filed under its tags")
	}
}

func TestWarmGivesTheSourceTheIdentity(t *testing.T) {
	url, _ := answering(t)
	app := newWarmApp(t, `session_lookup {"id": "{http.request.cookie.sid}", "source": {"source": "http", "url": "`+url+`/auth"}}`)
	c := startAdmin(t, app)
	require.Equal(t, wire.WarmProgress{Done: 1, Total: 1, Loaded: 1, Finished: true}, c.warm(t, `{"route": "session_lookup-1", "ids": ["s1"]}`))
	keys := listAll(t, c, "session:", "10")
	require.Len(t, keys, 1)
	require.NotContains(t, keys[0], "s1", "hashed as a lookup would have it")
	require.Contains(t, c.get(t, "keys/"+keys[0]).Body, "sid=s1")
}

func TestWarmRefusesWhatIsNotRight(t *testing.T) {
	url, _ := answering(t)
	source := `"source": {"source": "http", "url": "` + url + `/{id}"}`
	app := newWarmApp(t,
		`file_metadata {"id": "{http.request.uri.path}", "name": "web", `+source+`}`,
		`file_metadata {"id": "{http.request.uri.path}", "name": "none", "key": "plain:{id}"}`,
		`file_metadata {"id": "{http.request.uri.path}", "name": "varies", "key": "varies:{http.request.host}:{id}", "hash_id": true, `+source+`}`,
		`file_metadata {"name": "site", "key": "site:{id}", "source": {"source": "file_system"}}`,
		`file_metadata {"name": "host", "key": "host:{id}", "source": {"source": "file_system", "root": "/srv/{http.request.host}"}}`,
		`file_metadata {"name": "fixed", "key": "fixed:{id}", "source": {"source": "file_system", "root": "`+t.TempDir()+`"}}`,
	)
	c := startAdmin(t, app)
	for body, want := range map[string]struct {
		status  int
		message string
	}{
		``:                              {400, "body is not a JSON object with the right fields"},
		`[]`:                            {400, "body is not a JSON object"},
		`{"route": "web"} {}`:           {400, "body is not a JSON object"},
		`{"route": "web"}}`:             {400, "body is not a JSON object"},
		`{"route": "web", "id": ["a"]}`: {400, "body is not a JSON object"},
		`{"route": "web", "ids": [1]}`:  {400, "body is not a JSON object"},
		"{\"route\": \"web\", \"ids\": [\"\xff\"]}": {400, "body is not a JSON object"},
		`null`:           {400, "route is missing"},
		`{"ids": ["a"]}`: {400, "route is missing"},
		`{"route": "web", "ids": [], "concurrency": 65}`:     {400, "concurrency is not right: want 1 to 64"},
		`{"route": "web", "ids": [], "rate": -1}`:            {400, "rate is not right"},
		`{"route": "s3cret"}`:                                {404, "want one of fixed, host, none, site, varies, web"},
		`{"route": "web"}`:                                   {400, "source http cannot list its identities: want ids"},
		`{"route": "none", "ids": []}`:                       {400, "the route has no source"},
		`{"route": "varies", "ids": ["a"]}`:                  {400, "the route's key has placeholders of a request"},
		`{"route": "site"}`:                                  {400, "the root is that of the site, which is not known without a request: give it as root (--root)"},
		`{"route": "site", "ids": ["/a"]}`:                   {400, "the root is that of the site"},
		`{"route": "host"}`:                                  {400, "'/srv/{http.request.host}' has placeholders of a request"},
		`{"route": "site", "root": "/srv", "fs": "unknown"}`: {400, "there is no such file system"},
	} {
		a := c.do(t, http.MethodPost, "warm", body)
		require.Equal(t, want.status, a.Status, body)
		require.Contains(t, a.message(t), want.message, body)
		require.NotContains(t, a.message(t), "s3cret")
	}
	require.Equal(t, wire.WarmProgress{Finished: true}, c.warm(t, `{"route": "fixed"}`), "there are no files")
}

func TestWarmWalksTheFilesThatAreServed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.txt", "b b%20ü.txt", "sub/c.txt", "sub/deep/d.txt", "hidden/e.txt", ".git/f", "sub/g.secret", "index.html"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	for i := range 600 { // more than is read at a time
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sub/deep", fmt.Sprint(i)), nil, 0o600))
	}
	for link, target := range map[string]string{"loop": ".", "sub/up": "..", "linked": "sub/deep", "file": "a.txt", "nowhere": "gone", "self": "self"} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	hide := `"hide": ["hidden", ".git", "*.secret"]`
	app := newWarmApp(t,
		`file_metadata {"name": "fixed", "source": {"source": "file_system", "hash": "sha256", "root": "`+dir+`", `+hide+`}}`,
		`file_metadata {"name": "site", "key": "site:{id}", "source": {"source": "file_system", `+hide+`}}`,
	)
	c := startAdmin(t, app)
	// sub/deep is there twice, by one link
	want := wire.WarmProgress{Done: 5 + 2*601, Total: 5 + 2*601, Loaded: 5 + 2*601, Finished: true}
	require.Equal(t, want, c.warm(t, `{"route": "fixed"}`))
	keys := listAll(t, c, "file:meta:"+dir, "1000")
	require.Len(t, keys, 5+2*601)
	for _, name := range []string{"a.txt", "b b%20ü.txt", "sub/c.txt", "sub/deep/d.txt", "linked/d.txt", "file", "index.html"} {
		require.Contains(t, keys, "file:meta:"+dir+"/"+name)
	}
	// files are hashed in the background, and the next warm-up stores the hashes
	hashed := func() bool {
		c.warm(t, `{"route": "fixed"}`)
		entry, err := app.Cache().Get(t.Context(), "file:meta:"+dir+"/a.txt")
		require.NoError(t, err)
		sum, ok := entry.Record.Field("sha256")
		return ok && len(sum.Text()) == 64
	}
	require.Eventually(t, hashed, 10*time.Second, 20*time.Millisecond, "a.txt is hashed")
	want.Loaded, want.Present = 0, want.Done
	require.Eventually(t, func() bool {
		return reflect.DeepEqual(want, c.warm(t, `{"route": "fixed", "root": "/nowhere"}`)) // it has a root of its own
	}, 10*time.Second, 20*time.Millisecond, "all are hashed")
	require.Equal(t, want, c.warm(t, `{"route": "fixed", "root": "/nowhere"}`), "it has a root of its own")
	_, err := app.Cache().DeletePrefix(t.Context(), "file:")
	require.NoError(t, err)
	require.Equal(t, wire.WarmProgress{Done: 3, Total: 3, Loaded: 1, Absent: 1, Errors: 1, Finished: true,
		Failed: []wire.WarmFailure{{Index: 1, Error: lookup.ErrNotLocated.Error()}}},
		c.warm(t, `{"route": "site", "root": "`+dir+`", "concurrency": 1, "ids": ["/sub/c.txt", "/hidden/e.txt", "/none"]}`))
	require.Equal(t, wire.WarmProgress{Done: 1, Errors: 1, Total: 1, Finished: true,
		Failed: []wire.WarmFailure{{Index: -1, Error: "listing a directory: stat: no such file or directory"}}}, c.warm(t, `{"route": "site", "root": "`+dir+`/none"}`))
}

func TestWarmDoesAllRoutesOfAName(t *testing.T) {
	url, asked := answering(t)
	one := `file_metadata {"id": "{http.request.uri.path}", "name": "shared", "key": "%s:{id}", "source": {"source": "http", "url": "` + url + `/{id}"}}`
	app := newWarmApp(t, fmt.Sprintf(one, "one"), fmt.Sprintf(one, "two"))
	c := startAdmin(t, app)
	require.Equal(t, wire.WarmProgress{Done: 4, Total: 4, Loaded: 4, Finished: true}, c.warm(t, `{"route": "shared", "ids": ["a", "b"]}`))
	require.EqualValues(t, 4, asked.Load())
	require.Equal(t, []string{"one:a", "one:b", "two:a", "two:b"}, listAll(t, c, "", "10"))
}

// slowSource keeps those waiting who ask it.
func slowSource(t *testing.T) (url string, running *atomic.Int64, release func()) {
	t.Helper()
	running = new(atomic.Int64)
	gate, release := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		select {
		case <-gate.Done():
		case <-r.Context().Done():
		}
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(func() {
		release()
		server.Close()
	})
	return server.URL, running, release
}

func manyIDs(n int) string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("id", i)
	}
	text, _ := json.Marshal(ids)
	return string(text)
}

// startWarm begins to warm, and returns the lines of the answer.
func (c adminClient) startWarm(ctx context.Context, t *testing.T, body string) *bufio.Scanner {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://caddy/filewallball/warm", strings.NewReader(body))
	require.NoError(t, err)
	resp, err := c.http.Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	t.Cleanup(func() { resp.Body.Close() })
	return bufio.NewScanner(resp.Body)
}

func TestWarmReportsProgressAndBoundsItsLoads(t *testing.T) {
	url, running, release := slowSource(t)
	app := newWarmApp(t, `file_metadata {"id": "{http.request.uri.path}", "name": "slow", "source": {"source": "http", "url": "`+url+`/{id}"}}`)
	lines := startAdmin(t, app).startWarm(t.Context(), t, `{"route": "slow", "concurrency": 3, "ids": `+manyIDs(20)+`}`)
	var last wire.WarmProgress
	require.True(t, lines.Scan())
	require.NoError(t, json.Unmarshal(lines.Bytes(), &last))
	require.False(t, last.Finished)
	require.Equal(t, 20, last.Total)
	require.Zero(t, last.Done)
	require.EqualValues(t, 3, running.Load())
	release()
	for lines.Scan() {
		require.NoError(t, json.Unmarshal(lines.Bytes(), &last))
	}
	require.True(t, last.Finished)
	require.Equal(t, 20, last.Loaded)
	require.Positive(t, last.PerSecond)
}

func TestWarmEndsWithTheClient(t *testing.T) {
	t.Parallel()
	url, running, release := slowSource(t)
	app := newWarmApp(t, `file_metadata {"id": "{http.request.uri.path}", "name": "slow", "source": {"source": "http", "url": "`+url+`/{id}"}}`)
	ctx, leave := context.WithCancel(t.Context())
	body := strings.NewReader(`{"route": "slow", "concurrency": 2, "ids": ` + manyIDs(1000) + `}`)
	done := make(chan error)
	go func() {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/filewallball/warm", body)
		done <- warm(httptest.NewRecorder(), r, app)
	}()
	require.Eventually(t, func() bool { return running.Load() == 2 }, 5*time.Second, time.Millisecond)
	leave()
	require.NoError(t, <-done, "it does not wait for the source")
	require.Eventually(t, func() bool { return running.Load() == 0 }, 5*time.Second, time.Millisecond, "loads end with the client")
	release()
}

func TestWarmEndsWithTheConfiguration(t *testing.T) {
	url, running, release := slowSource(t)
	app := newWarmApp(t, `file_metadata {"id": "{http.request.uri.path}", "name": "slow", "source": {"source": "http", "url": "`+url+`/{id}"}}`)
	lines := startAdmin(t, app).startWarm(t.Context(), t, `{"route": "slow", "ids": `+manyIDs(1000)+`}`)
	require.Eventually(t, func() bool { return running.Load() == defaultWarmConcurrency }, 5*time.Second, time.Millisecond)
	app.End()
	var last wire.WarmProgress
	for lines.Scan() {
		last = wire.WarmProgress{}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &last))
	}
	require.NoError(t, lines.Err())
	require.False(t, last.Finished)
	require.Equal(t, "the configuration was replaced: run warm again", last.Error)
	release()
}

// Caddy replaces the admin API before it knows whether the rest of a new
// configuration can run.
func TestWarmWorksAfterAFailedReload(t *testing.T) {
	url, _ := answering(t)
	app := newWarmApp(t, `file_metadata {"id": "{http.request.uri.path}", "name": "web", "source": {"source": "http", "url": "`+url+`/{id}"}}`)
	startAdmin(t, app)
	listen, client := adminSocket(t)
	require.Error(t, caddy.Load([]byte(`{"admin": {"listen": "`+listen+`", "config": {"persist": false}}, "apps": {"no_such_app": {}}}`), true))
	require.True(t, client.warm(t, `{"route": "web", "ids": ["/a"]}`).Finished)
}

// deadStore answers pings and nothing else.
type deadStore struct{ *memory.Store }

func (deadStore) Get(context.Context, string) (cache.Entry, error) {
	return cache.Entry{}, fmt.Errorf("reading: %w", cache.ErrUnavailable)
}

func (s deadStore) GetOrAcquire(ctx context.Context, key string, _ time.Duration, _ bool) (string, cache.Entry, error) {
	_, err := s.Get(ctx, key)
	return "", cache.Entry{}, err
}

func TestWarmAsksNoSourceWithoutTheStore(t *testing.T) {
	url, asked := answering(t)
	ctx, app := lookuptest.NewApp(t, `{}`)
	store, err := memory.New(memory.Options{})
	require.NoError(t, err)
	app.Use(t, deadStore{store})
	_, err = lookuptest.NewHandler(ctx, "file_metadata", `{"id": "{http.request.uri.path}", "name": "web", "source": {"source": "http", "url": "`+url+`/{id}"}}`)
	require.NoError(t, err)
	last := startAdmin(t, app).warm(t, `{"route": "web", "concurrency": 1, "ids": `+manyIDs(1000)+`}`)
	require.False(t, last.Finished)
	require.Equal(t, "the store is unavailable: the log says why", last.Error)
	require.Equal(t, warmPatience, last.Errors)
	require.Equal(t, wire.WarmFailure{Index: 0, Error: "the store failed"}, last.Failed[0])
	require.Zero(t, asked.Load())
}

func TestWarmKeepsToItsRate(t *testing.T) {
	t.Parallel()
	url, _ := answering(t)
	app := newWarmApp(t, `file_metadata {"id": "{http.request.uri.path}", "name": "web", "source": {"source": "http", "url": "`+url+`/{id}"}}`)
	what := wire.WarmRequest{Route: "web", IDs: []string{"a", "b", "c", "d", "e"}, Concurrency: 5, Rate: 20}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	u := newWarmUp(what, app.Lookups().Named("web"), caddy.NewReplacer(), cancel)
	<-u.start(ctx)
	last := u.result(nil)
	require.Equal(t, 5, last.Loaded)
	require.GreaterOrEqual(t, last.Seconds, 0.199, "four waits of 50ms")
}
