package upload

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func prepared(w http.ResponseWriter, r *http.Request) *http.Request {
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
}

func TestUploadIsJudgedByWhatTheNextHandlerAnswers(t *testing.T) {
	t.Parallel()
	left, leave := context.WithCancel(t.Context())
	leave()
	for name, c := range map[string]struct {
		ctx      context.Context
		complete bool
		failure  int32
		status   int
		err      error
		want     int
	}{
		"success":                            {complete: true, status: 200},
		"nothing written":                    {complete: true},
		"redirect after the body":            {complete: true, status: 303},
		"success without the body":           {status: 204},
		"redirect without the body":          {status: 302, want: 302},
		"refusal":                            {status: 403, want: 403},
		"failure":                            {complete: true, status: 500, want: 500},
		"refusal as an error":                {err: caddyhttp.Error(401, nil), want: 401},
		"error without a status":             {complete: true, err: errors.New("x"), want: 500},
		"bad gateway since the client left":  {failure: 499, err: caddyhttp.Error(502, nil), want: 499},
		"success since the client left":      {failure: 499, status: 200, want: 499},
		"client leaves after the body":       {complete: true, failure: 499, status: 200},
		"bad gateway since it was too large": {failure: 413, err: caddyhttp.Error(502, nil), want: 413},
		"client does not wait":               {ctx: left, complete: true, err: caddyhttp.Error(502, nil), want: 499},
		"client left, but it is done":        {ctx: left, complete: true, status: 201},
		"the answer broke off":               {complete: true, status: 200, err: http.ErrAbortHandler, want: 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &upload{size: -1}
			u.eof.Store(c.complete)
			u.failure.Store(c.failure)
			if c.ctx == nil {
				c.ctx = context.Background()
			}
			require.Equal(t, c.want, u.verdict(c.ctx, c.status, c.err))
		})
	}
}

func TestRateIsSmoothed(t *testing.T) {
	t.Parallel()
	var m meter
	start := time.Unix(1_764_000_000, 0)
	received, now := int64(0), start
	step := func(bytes int64) int64 {
		received += bytes
		now = now.Add(500 * time.Millisecond)
		return m.rate(now, start, received, false)
	}
	require.Zero(t, m.rate(start, start, 0, false), "no time has passed")
	for range 4 { // right from the beginning
		require.InDelta(t, 1000, step(500), 1)
	}
	require.InDelta(t, 1200, step(1000), 60, "half a second does not change it much")
	var rate int64
	for range 60 {
		rate = step(2000)
	}
	require.InDelta(t, 4000, rate, 10, "half a minute does")
	for range 60 {
		rate = step(0)
	}
	require.Less(t, rate, int64(20))
	mean := m.rate(now, start, received, true)
	require.Equal(t, int64(float64(received)/now.Sub(start).Seconds()), mean)
	require.Equal(t, mean, m.rate(now.Add(time.Hour), start, received, true), "processing is not uploading")
}

func TestRecordHasTheProgressOfAnUpload(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_764_000_000, 500_000_000)
	for name, c := range map[string]struct {
		size, received int64
		eof            bool
		status         string
		progress       int
	}{
		"begun":                       {1000, 0, false, uploading, 0},
		"almost there":                {1000, 999, false, uploading, 99},
		"large":                       {1 << 62, 1 << 61, false, uploading, 50},
		"complete":                    {1000, 1000, false, uploadProcessing, 100},
		"empty":                       {0, 0, false, uploadProcessing, 100},
		"of unknown length":           {-1, 1000, false, uploading, -1},
		"of unknown length, complete": {-1, 1000, true, uploadProcessing, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &upload{size: c.size, started: start, owner: "ada"}
			u.received.Store(c.received)
			u.eof.Store(c.eof)
			r := u.record(start.Add(2 * time.Second))
			require.Equal(t, uploadRecord{
				Progress: c.progress, Status: c.status, Timestamp: 1_764_000_002.5, Received: c.received, Size: c.size,
				Rate: c.received / 2, Started: 1_764_000_000.5, Owner: "ada",
			}, r)
			failed := u.finalRecord(start.Add(2*time.Second), 502)
			require.Equal(t, uploadError, failed.Status)
			require.Equal(t, 502, failed.HTTPStatus)
			require.Equal(t, c.progress, failed.Progress)
			done := u.finalRecord(start.Add(2*time.Second), 0)
			require.Equal(t, uploadDone, done.Status)
			require.Equal(t, 100, done.Progress)
			require.Equal(t, c.size, done.Size)
		})
	}
}

func TestUploadReplacesOnlyWhatItMay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		found string
		own   bool // we have written before
		want  bool
	}{
		"nothing known of it":              {`null`, false, true},
		"another application's":            {`{"a": 1}`, false, true},
		"an older one that runs":           {`{"status": "uploading", "started": 1763999999, "owner": "ada"}`, false, true},
		"an older one of another owner":    {`{"status": "uploading", "started": 1763999999, "owner": "eve"}`, false, false},
		"an older one without an owner":    {`{"status": "processing", "started": 1763999999}`, false, false},
		"what another owner has ended":     {`{"status": "error", "started": 1763999999, "owner": "eve"}`, false, true},
		"our own, unnoticed":               {`{"status": "uploading", "started": 1764000000.123456, "owner": "ada"}`, false, true},
		"a later one that runs":            {`{"status": "uploading", "started": 1764000000.5, "owner": "ada"}`, false, false},
		"one ended before, by its clock":   {`{"status": "done", "started": 1764000000.5, "owner": "ada"}`, false, true},
		"a later one that is done already": {`{"status": "done", "started": 1764000000.5, "owner": "ada"}`, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &publisher{upload: &upload{owner: "ada", started: time.Unix(1_764_000_000, 123_456_789)}, own: c.own}
			record, err := cache.Decode(c.found, cache.DefaultMaxValueSize)
			require.NoError(t, err)
			require.Equal(t, c.want, p.mayReplace(record))
		})
	}
}

func TestUploadWithoutIdentityPassesAndAMalformedOneIsRefused(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{"key_prefix": "app:"}`)
	h, err := lookuptest.NewHandler(ctx, uploadDirective, `{"id": "{http.request.header.X-Id}", "owner": "{http.request.header.X-Owner}"}`)
	require.NoError(t, err)
	put := func(headers ...string) lookuptest.Answer {
		r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader("abc"))
		for i := 0; i < len(headers); i += 2 {
			r.Header[headers[i]] = []string{headers[i+1]}
		}
		return lookuptest.Serve(h, r)
	}
	a := put()
	require.True(t, a.Next)
	require.NoError(t, a.Err)
	_, counted := a.Request.Body.(*countedBody)
	require.False(t, counted)
	for name, headers := range map[string][]string{
		"malformed identity": {"X-Id", "a\nb"},
		"too long":           {"X-Id", strings.Repeat("a", cache.MaxIdentity+1)},
		"malformed owner":    {"X-Id", "a", "X-Owner", "\xff"},
	} {
		a := put(headers...)
		require.False(t, a.Next, name)
		require.Equal(t, http.StatusBadRequest, a.Status, name)
	}
	long := strings.Repeat("a", 1000) // in the key as its hash
	for _, id := range []string{"a", long} {
		require.True(t, put("X-Id", id).Next)
		require.Eventually(t, func() bool {
			entry, err := app.Cache().Get(t.Context(), "app:temp:upload:progress:"+cache.KeyIdentity(id, false))
			require.NoError(t, err)
			return entry.Record != nil && strings.Contains(entry.Record.Text(), `"done"`)
		}, 10*time.Second, time.Millisecond)
	}
	keys, _, err := app.Cache().Store().Scan(t.Context(), "app:", "", 100)
	require.NoError(t, err)
	require.Len(t, keys, 2)
}

func TestHandlerThatPanicsEndsItsUpload(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, uploadDirective, `{"id": "a"}`)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	r := prepared(w, httptest.NewRequest(http.MethodPut, "/", strings.NewReader("abc")))
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		_ = h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }))
	})
	require.Eventually(t, func() bool {
		entry, err := app.Cache().Get(t.Context(), "temp:upload:progress:a")
		require.NoError(t, err)
		return entry.Record != nil && strings.Contains(entry.Record.Text(), `"status":"error","http_status":500`)
	}, 10*time.Second, time.Millisecond)
}

func TestUploadOptionsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	ctx, _ := lookuptest.NewApp(t, `{}`)
	for config, want := range map[string]string{
		`{}`:                               "there is no identity",
		`{"id": "a", "interval": -1}`:      "interval is -1ns: want at least 1ms",
		`{"id": "a", "ttl": "900ms"}`:      "records would expire between two writes",
		`{"id": "a", "interval": "1000h"}`: "want a ttl of at least twice the interval",
	} {
		_, err := lookuptest.NewHandler(ctx, uploadDirective, config)
		require.ErrorContains(t, err, want)
	}
	for config, want := range map[string]string{
		`{}`:                          "there is no identity",
		`{"id": "a", "interval": -1}`: "interval is -1ns: want at least 1ms",
	} {
		_, err := lookuptest.NewHandler(ctx, reportDirective, config)
		require.ErrorContains(t, err, want)
	}
}

func TestUploadHoldsItsCacheUntilItsLastRecordIsWritten(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, "upload_progress", `{"id": "a"}`)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	require.NoError(t, h.ServeHTTP(w, prepared(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x"))),
		caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			require.EqualValues(t, 1, app.Holders.Load(), "the store may be closed under the upload")
			w.WriteHeader(http.StatusOK)
			return nil
		})))
	require.Eventually(t, func() bool { return app.Holders.Load() == 0 }, 10*time.Second, time.Millisecond)
	entry, err := app.Cache().Get(t.Context(), "temp:upload:progress:a")
	require.NoError(t, err)
	require.NotNil(t, entry.Record)
	require.False(t, isRunning(entry.Record), "it was released before the end was written")
}
