package upload

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestReportHasTheFieldsOfTheRecordWithoutTheOwner(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, reportDirective, `{"id": "{http.request.uri.path.0}"}`)
	require.NoError(t, err)
	app.Put(t, "temp:upload:progress:a", `{"owner": "ada", "progress": 42, "status": "uploading", "timestamp": 1764000000.123,
		"received": 440401920, "size": 1048576000, "rate": 52428800, "started": 1763999991.5, "path": "/srv/secret", "owner": "bob"}`)
	app.Put(t, "temp:upload:progress:odd", `{"progress": "9\u000a9", "status": {"a": 1}, "rate": null}`)
	app.Put(t, "temp:upload:progress:absent", `null`)
	app.Put(t, "temp:upload:progress:denied", `{"denied": true}`)

	a := lookuptest.Serve(h, lookuptest.Get("/a"))
	require.Equal(t, http.StatusOK, a.Status)
	require.False(t, a.Next)
	require.Equal(t, `{"progress": 42, "status": "uploading", "timestamp": 1764000000.123, "received": 440401920, `+
		`"size": 1048576000, "rate": 52428800, "started": 1763999991.5}`+"\n", a.Body.String())
	require.Equal(t, `{"progress": "9\n9"}`+"\n", lookuptest.Serve(h, lookuptest.Get("/odd")).Body.String())
	for _, path := range []string{"/absent", "/denied", "/none", "/"} {
		a := lookuptest.Serve(h, lookuptest.Get(path))
		require.Equal(t, http.StatusNotFound, a.Status, path)
		require.Equal(t, "no-store", a.Header().Get("Cache-Control"), path)
	}
	require.Equal(t, http.StatusOK, lookuptest.Serve(h, httptest.NewRequest(http.MethodHead, "/a", nil)).Status)
	post := lookuptest.Serve(h, httptest.NewRequest(http.MethodPost, "/a", nil))
	require.Equal(t, http.StatusMethodNotAllowed, post.Status)
	require.Equal(t, "GET, HEAD", post.Header().Get("Allow"))
	require.False(t, post.Next)
}

func TestEventsAreSentToClientsThatAcceptThem(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"":                                    false,
		"*/*":                                 false,
		"text/*":                              false,
		"text/html, application/json":         false,
		"text/event-stream":                   true,
		"Text/Event-Stream; charset=utf-8":    true,
		"text/event-stream;q=0":               false,
		"text/event-stream; q=0.000":          false,
		"text/event-stream;q=2":               false,
		"text/event-stream;q=NaN":             false,
		"text/event-stream;q=x, */*":          false,
		"application/json, text/event-stream": true,
		"application/json, text/event-stream;q=0.9":         false,
		"application/json;q=0.1, text/event-stream;q=0.2":   true,
		"application/json;q=0, */*, text/event-stream;q=.1": true,
		"*/*;q=0.5, text/event-stream":                      true,
		"application/*, text/event-stream;q=0.5":            false,
		",;, text/event-stream":                             true,
		"text/event-streams":                                false,
	} {
		require.Equal(t, want, wantsEvents([]string{accept}), accept)
	}
	require.True(t, wantsEvents([]string{"text/html", "text/event-stream"}), "a field may have several lines")
}

func FuzzAccept(f *testing.F) {
	f.Add("application/json;q=0, */*, text/event-stream;q=.1")
	f.Add("text/event-stream;q=\"1\", \"")
	f.Fuzz(func(t *testing.T, accept string) {
		if wantsEvents([]string{accept}) {
			require.Contains(t, strings.ToLower(accept), "text/event-stream")
		}
	})
}

func FuzzEventID(f *testing.F) {
	f.Add("1763999991500000-1764000000123000")
	f.Add("0-0")
	f.Add("-1--1")
	f.Fuzz(func(t *testing.T, text string) {
		id := parseEventID(text)
		require.Equal(t, id, parseEventID(id.String()))
		require.False(t, id.timestamp != 0 && id.after(id), "an event is no news to who has seen it")
		require.True(t, eventID{}.after(id), "an event without a time is always sent")
	})
}

// newTestHub returns a hub over a record that a test sets.
func newTestHub() (hub *uploadHub, set func(text string), reads *atomic.Int64) {
	var record atomic.Pointer[cache.Record]
	reads = new(atomic.Int64)
	hub = &uploadHub{interval: time.Millisecond, read: func(context.Context, string) (*cache.Record, error) {
		reads.Add(1)
		return record.Load(), nil
	}}
	return hub, func(text string) {
		r, err := cache.Decode(text, cache.DefaultMaxValueSize)
		if err != nil {
			panic(err)
		}
		record.Store(r)
	}, reads
}

// awaitNews waits for the first news that are as wanted.
func awaitNews(t *testing.T, w *uploadWatch, is func(uploadNews) bool) uploadNews {
	t.Helper()
	for {
		news, changed := w.news()
		if is(news) {
			return news
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			require.Fail(t, "no such news")
		}
	}
}

func TestHubReadsWhileThereAreListeners(t *testing.T) {
	t.Parallel()
	hub, set, reads := newTestHub()
	set(`{"status": "uploading"}`)
	first, err := hub.join("a")
	require.NoError(t, err)
	second, err := hub.join("a")
	require.NoError(t, err)
	require.Same(t, first, second)
	awaitNews(t, first, func(n uploadNews) bool { return n.known })
	first.leave()
	before := reads.Load()
	require.Eventually(t, func() bool { return reads.Load() > before+1 }, 10*time.Second, time.Millisecond)
	second.leave()
	require.Empty(t, hub.watches)
	require.Zero(t, hub.listeners)

	// what has ended is not what the next listener hears of
	set(`{"status": "done"}`)
	ended, err := hub.join("a")
	require.NoError(t, err)
	require.True(t, awaitNews(t, ended, func(n uploadNews) bool { return n.known }).last)
	set(`{"status": "uploading"}`)
	again, err := hub.join("a")
	require.NoError(t, err)
	require.False(t, awaitNews(t, again, func(n uploadNews) bool { return n.known }).last)
	ended.leave()
	require.Len(t, hub.watches, 1, "the other goes on")
	again.leave()
	require.Empty(t, hub.watches)
}

func TestHubKeepsListenersWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	hub, set, _ := newTestHub()
	var away atomic.Bool
	failed := make(chan struct{}, 1)
	read := hub.read
	hub.read = func(ctx context.Context, key string) (*cache.Record, error) {
		if away.Load() {
			select {
			case failed <- struct{}{}:
			default:
			}
			return nil, errors.New("away")
		}
		return read(ctx, key)
	}
	away.Store(true)
	w, err := hub.join("a")
	require.NoError(t, err)
	require.Error(t, awaitNews(t, w, func(n uploadNews) bool { return n.known }).err, "no read has succeeded")
	w.leave()

	away.Store(false)
	<-failed
	set(`{"status": "uploading"}`)
	w, err = hub.join("a")
	require.NoError(t, err)
	defer w.leave()
	awaitNews(t, w, func(n uploadNews) bool { return n.known })
	away.Store(true)
	<-failed
	news, _ := w.news()
	require.NoError(t, news.err)
	require.False(t, news.last)
	set(`{"status": "done"}`)
	away.Store(false)
	awaitNews(t, w, func(n uploadNews) bool { return n.last })
}

func TestHubHasRoomForSoManyListeners(t *testing.T) {
	t.Parallel()
	hub, set, _ := newTestHub()
	set(`{"status": "uploading"}`)
	watches := make([]*uploadWatch, maxListenersPerUpload)
	for i := range watches {
		var err error
		watches[i], err = hub.join("a")
		require.NoError(t, err)
	}
	_, err := hub.join("a")
	require.ErrorIs(t, err, errTooManyListeners)
	other, err := hub.join("b")
	require.NoError(t, err, "one upload does not shut out another")
	other.leave()
	hub.listeners = maxListeners
	_, err = hub.join("b")
	require.ErrorIs(t, err, errTooManyListeners)
	hub.listeners = maxListenersPerUpload
	for _, w := range watches {
		w.leave()
	}
	require.Empty(t, hub.watches)
}

func TestTextAloneIsNoOwner(t *testing.T) {
	t.Parallel()
	const owner = `{"id": "{http.request.uri.path.0}", "owner": "user-{http.request.header.X-Owner}"}`
	ctx, app := lookuptest.NewApp(t, `{}`)
	report, err := lookuptest.NewHandler(ctx, reportDirective, owner)
	require.NoError(t, err)
	for key, record := range map[string]string{"a": `{"owner": "user-", "progress": 42}`, "b": `{"owner": "user-ada", "progress": 42}`} {
		app.Put(t, "temp:upload:progress:"+key, record)
	}
	require.Equal(t, http.StatusNotFound, lookuptest.Serve(report, lookuptest.Get("/a")).Status, "nobody's upload")
	require.Equal(t, http.StatusNotFound, lookuptest.Serve(report, lookuptest.Get("/b")).Status)
	require.Equal(t, http.StatusOK, lookuptest.Serve(report, lookuptest.Get("/b", "X-Owner", "ada")).Status)
	require.Equal(t, http.StatusBadRequest, lookuptest.Serve(report, lookuptest.Get("/b", "X-Owner", "\xff")).Status)

	upload, err := lookuptest.NewHandler(ctx, uploadDirective, owner)
	require.NoError(t, err)
	u, err := upload.(*Handler).begin(lookuptest.Serve(upload, httptest.NewRequest(http.MethodPut, "/c", http.NoBody)).Request)
	require.NoError(t, err)
	require.Empty(t, u.owner)
}
