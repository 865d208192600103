package upload

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// progress is a record as the report shows it.
type progress struct {
	Progress   int
	Status     string
	HTTPStatus int `json:"http_status"`
	Timestamp  float64
	Received   int64
	Size       int64
	Rate       int64
	Started    float64
}

const uploadRoutes = `
	upload_progress /upload/* {path.1} {
		interval 10ms
	}
	upload_progress_report /progress/* {path.1} {
		interval 10ms
	}
	`

func redisOption(server *redistest.Server) string {
	return "filewallball {\nredis " + server.Addr() + "\n}"
}

// report requests the report of an upload; ok is false if it is unknown.
func (s site) report(t *testing.T, id string, headers ...string) (p progress, ok bool) {
	t.Helper()
	a := s.Get(t, "/progress/"+id, headers...)
	if a.Status == http.StatusNotFound {
		return progress{}, false
	}
	require.Equal(t, http.StatusOK, a.Status)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.NoError(t, json.Unmarshal([]byte(a.Body), &p), a.Body)
	return p, true
}

// await waits until the report is as it should be.
func (s site) await(t *testing.T, id string, is func(progress) bool) (p progress) {
	t.Helper()
	require.Eventually(t, func() bool {
		var ok bool
		p, ok = s.report(t, id)
		return ok && is(p)
	}, 10*time.Second, 5*time.Millisecond, "last seen: %+v", &p)
	return p
}

func hasStatus(status string) func(progress) bool {
	return func(p progress) bool { return p.Status == status }
}

// slowUpload is an upload whose client sends one part after the other, when it is told
// to.
type slowUpload struct {
	*io.PipeWriter
	leave  func()
	status chan int // of the response; 0 where there was none
}

func startUpload(t *testing.T, client *http.Client, url string, size int64, headers ...string) slowUpload {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	body, pipe := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, body)
	require.NoError(t, err)
	req.ContentLength = size
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	u := slowUpload{PipeWriter: pipe, status: make(chan int, 1)}
	u.leave = func() {
		cancel()
		_ = pipe.CloseWithError(context.Canceled) // or the client waits for the body
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		resp, err := client.Do(req)
		if err != nil {
			_ = body.CloseWithError(err)
			u.status <- 0
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		_ = body.Close()
		u.status <- resp.StatusCode
	}()
	t.Cleanup(func() {
		u.leave()
		<-ended
	})
	return u
}

func (u slowUpload) send(t *testing.T, n int) {
	t.Helper()
	_, err := u.Write(make([]byte, n))
	require.NoError(t, err)
}

// uploadApp is an application that reads each upload to its end and answers
// what the path says: /upload/<id>/<status>. /upload/<id>/hold waits.
type uploadApp struct {
	*httptest.Server
	hold chan struct{}
}

func newUploadApp(t *testing.T) *uploadApp {
	app := &uploadApp{hold: make(chan struct{})}
	app.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		switch _, wanted, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/upload/"), "/"); {
		case err != nil:
			panic(http.ErrAbortHandler)
		case wanted == "hold":
			select {
			case <-app.hold:
			case <-r.Context().Done():
			}
		case wanted != "":
			status, _ := strconv.Atoi(wanted)
			w.WriteHeader(status)
		}
	}))
	t.Cleanup(app.Close)
	return app
}

func (app *uploadApp) route() string { return "reverse_proxy " + app.Listener.Addr().String() }

func TestUploadIsReportedWhileItRunsOverEachProtocol(t *testing.T) {
	app := newUploadApp(t)
	s := site{sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}}
	secure := ports.Addr(t)
	config, err := sitetest.Adapt(s.Config("skip_install_trust\nauto_https disable_redirects\n"+redisOption(redistest.Start(t)), uploadRoutes+app.route()) +
		"\nhttps://" + secure + " {\ntls internal\n" + uploadRoutes + app.route() + "\n}")
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() {
		require.NoError(t, caddy.Stop())
		http.DefaultClient.CloseIdleConnections()
	})
	insecure := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate is Caddy's own
	h2 := &http.Transport{TLSClientConfig: insecure, ForceAttemptHTTP2: true}
	t.Cleanup(h2.CloseIdleConnections)
	h3 := &http3.Transport{TLSClientConfig: insecure.Clone()}
	t.Cleanup(func() { require.NoError(t, h3.Close()) })
	require.EventuallyWithT(t, func(c *assert.CollectT) { // Caddy makes its certificate in the background
		resp, err := (&http.Client{Transport: h2}).Get("https://" + secure)
		if assert.NoError(c, err) {
			assert.NoError(c, resp.Body.Close())
		}
	}, 10*time.Second, 10*time.Millisecond)
	for name, c := range map[string]struct {
		client *http.Client
		url    string
		size   int64
	}{
		"HTTP/1.1":           {http.DefaultClient, "http://" + s.Page, 1000},
		"HTTP/1.1 chunked":   {http.DefaultClient, "http://" + s.Page, -1},
		"HTTP/2":             {&http.Client{Transport: h2}, "https://" + secure, 1000},
		"HTTP/2 of any size": {&http.Client{Transport: h2}, "https://" + secure, -1},
		"HTTP/3":             {&http.Client{Transport: h3}, "https://" + secure, 1000},
		"HTTP/3 of any size": {&http.Client{Transport: h3}, "https://" + secure, -1},
	} {
		t.Run(name, func(t *testing.T) {
			id := strings.NewReplacer("/", "", " ", "", ".", "").Replace(name)
			u := startUpload(t, c.client, c.url+"/upload/"+id+"/hold", c.size)
			u.send(t, 420)
			p := s.await(t, id, func(p progress) bool { return p.Received == 420 })
			require.Equal(t, "uploading", p.Status)
			require.Equal(t, c.size, p.Size)
			wanted := 42
			if c.size < 0 {
				wanted = -1
			}
			require.Equal(t, wanted, p.Progress)
			require.GreaterOrEqual(t, p.Timestamp, p.Started)
			require.Positive(t, p.Rate)

			u.send(t, 580)
			require.NoError(t, u.Close())
			p = s.await(t, id, hasStatus("processing"))
			require.EqualValues(t, 1000, p.Received)
			app.hold <- struct{}{}
			require.Equal(t, http.StatusOK, <-u.status)
			done := s.await(t, id, hasStatus("done"))
			require.Equal(t, 100, done.Progress)
			require.Equal(t, c.size, done.Size)
			require.Equal(t, p.Started, done.Started)
			require.Zero(t, done.HTTPStatus)
		})
	}
}

func TestUploadsAreReportedWithTheirResult(t *testing.T) {
	app := newUploadApp(t)
	s := serve(t, redisOption(redistest.Start(t)), `
		request_body /upload/limited {
			max_size 100
		}
		`+uploadRoutes+`
		respond /upload/unread 204
		error /upload/refused 403
		reverse_proxy /upload/gone `+ports.Addr(t)+`
		`+app.route())
	url := "http://" + s.Page + "/upload/"
	for path, c := range map[string]struct {
		status   string
		http     int
		progress int
	}{
		"ok":          {"done", 0, 100},
		"created/201": {"done", 0, 100},
		"see/303":     {"done", 0, 100},
		"unread":      {"done", 0, 100},
		"broken/500":  {"error", 500, -1},
		"wrong/422":   {"error", 422, -1},
		"gone":        {"error", 502, -1},
		"refused":     {"error", 403, -1},
		"limited":     {"error", 413, -1},
	} {
		t.Run(path, func(t *testing.T) {
			u := startUpload(t, http.DefaultClient, url+path, -1)
			_, _ = u.Write(make([]byte, 1000)) // not all are read
			_ = u.Close()
			id, _, _ := strings.Cut(path, "/")
			p := s.await(t, id, func(p progress) bool { return p.Status == "done" || p.Status == "error" })
			require.Equal(t, c.status, p.Status)
			require.Equal(t, c.http, p.HTTPStatus)
			require.Equal(t, c.progress, p.Progress)
			<-u.status
		})
	}
	t.Run("the client leaves", func(t *testing.T) {
		u := startUpload(t, http.DefaultClient, url+"left", 1000)
		u.send(t, 500)
		s.await(t, "left", func(p progress) bool { return p.Received == 500 })
		u.leave()
		p := s.await(t, "left", hasStatus("error"))
		require.Equal(t, 499, p.HTTPStatus)
		require.Equal(t, 50, p.Progress)
		require.EqualValues(t, 500, p.Received)
	})
	t.Run("the client does not wait for the answer", func(t *testing.T) {
		u := startUpload(t, http.DefaultClient, url+"impatient/hold", 100)
		u.send(t, 100)
		s.await(t, "impatient", hasStatus("processing"))
		u.leave()
		require.Equal(t, 499, s.await(t, "impatient", hasStatus("error")).HTTPStatus)
	})
	t.Run("nothing to send", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.put(t, "empty", ""))
		p := s.await(t, "empty", hasStatus("done"))
		require.Equal(t, progress{Progress: 100, Status: "done", Timestamp: p.Timestamp, Started: p.Started}, p)
	})
	t.Run("a download is none", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.Get(t, "/upload/download").Status)
		_, ok := s.report(t, "download")
		require.False(t, ok)
	})
	t.Run("there is no identity", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.put(t, "", "abc"))
		require.Equal(t, http.StatusNotFound, s.Get(t, "/progress/").Status)
		require.Equal(t, http.StatusBadRequest, s.Get(t, "/progress/a%0ab").Status, "malformed")
	})
}

func TestUploadIsReportedByEveryNodeAlsoIfItsOwnNodeIsKilled(t *testing.T) {
	server := redistest.Start(t)
	option := redisOption(server)
	app := newUploadApp(t)
	other, kill := startNode(t, option, uploadRoutes+`
	upload_progress /idle/* {path.1} {
		interval 10ms
		ttl 3s
	}
	`+app.route())
	s := serve(t, option, uploadRoutes+app.route())

	u := startUpload(t, http.DefaultClient, "http://"+other.Page+"/upload/a", 1000)
	u.send(t, 250)
	p := s.await(t, "a", func(p progress) bool { return p.Received == 250 })
	require.Equal(t, 25, p.Progress)
	u.send(t, 500)
	later := s.await(t, "a", func(p progress) bool { return p.Received == 750 })
	require.Greater(t, later.Timestamp, p.Timestamp)
	// while no data comes, the node updates the record, to show that it is running
	idle := startUpload(t, http.DefaultClient, "http://"+other.Page+"/idle/b", 1000)
	idle.send(t, 1)
	p = s.await(t, "b", func(p progress) bool { return p.Received == 1 })
	s.await(t, "b", func(later progress) bool { return later.Timestamp > p.Timestamp })

	kill()
	var last progress
	require.Eventually(t, func() bool {
		before := last
		last, _ = s.report(t, "a")
		return last == before
	}, 10*time.Second, 100*time.Millisecond, "writes went on")
	require.Equal(t, "uploading", last.Status)
	ttl := server.Client().PTTL(t.Context(), "temp:upload:progress:a").Val()
	require.Positive(t, ttl)
	require.LessOrEqual(t, ttl, 10*time.Minute)

	// the upload is begun again, here
	again := startUpload(t, http.DefaultClient, "http://"+s.Page+"/upload/a", 1000)
	again.send(t, 1000)
	require.NoError(t, again.Close())
	require.Equal(t, http.StatusOK, <-again.status)
	require.Greater(t, s.await(t, "a", hasStatus("done")).Started, last.Started)
}

func TestSecondUploadOfAnIdentityTakesOver(t *testing.T) {
	option := redisOption(redistest.Start(t))
	app := newUploadApp(t)
	other, _ := startNode(t, option, uploadRoutes+app.route())
	s := serve(t, option, uploadRoutes+app.route())
	for name, second := range map[string]site{"on the same node": s, "on another node": other} {
		t.Run(name, func(t *testing.T) {
			first := startUpload(t, http.DefaultClient, "http://"+s.Page+"/upload/a", 1000)
			first.send(t, 100)
			before := s.await(t, "a", func(p progress) bool { return p.Received == 100 })
			u := startUpload(t, http.DefaultClient, "http://"+second.Page+"/upload/a", 2000)
			u.send(t, 200)
			p := s.await(t, "a", func(p progress) bool { return p.Received == 200 })
			require.Greater(t, p.Started, before.Started)
			first.send(t, 900)
			require.NoError(t, first.Close())
			require.Equal(t, http.StatusOK, <-first.status, "the older upload itself goes on")
			for range 5 { // writes later, it is still the second
				u.send(t, 100)
				at := p
				p = s.await(t, "a", func(p progress) bool { return p.Timestamp > at.Timestamp })
				require.Equal(t, at.Started, p.Started)
				require.EqualValues(t, at.Received+100, p.Received)
				require.Equal(t, "uploading", p.Status)
			}
			u.send(t, 1300)
			require.NoError(t, u.Close())
			require.Equal(t, http.StatusOK, <-u.status)
			s.await(t, "a", hasStatus("done"))
		})
	}
}

func TestUploadBelongsToItsOwner(t *testing.T) {
	server := redistest.Start(t)
	app := newUploadApp(t)
	s := serve(t, redisOption(server), `
		session_lookup {header.X-Token} {
			on_missing continue
		}
		upload_progress /upload/* {path.1} {
			interval 10ms
			owner {http.session.user_id}
		}
		upload_progress_report /progress/* {path.1} {
			interval 10ms
			owner {http.session.user_id}
		}
		`+app.route())
	redis := server.Client()
	for _, user := range []string{"ada", "eve"} {
		require.NoError(t, redis.Set(t.Context(), "session:user:"+user, `{"user_id": "`+user+`"}`, time.Hour).Err())
	}
	url := "http://" + s.Page + "/upload/a"
	ada, eve := []string{"X-Token", "ada"}, []string{"X-Token", "eve"}
	awaitAda := func(n int64) {
		t.Helper()
		require.Eventually(t, func() bool {
			p, ok := s.report(t, "a", ada...)
			return ok && p.Received == n
		}, 10*time.Second, 5*time.Millisecond)
	}
	u := startUpload(t, http.DefaultClient, url, 1000, ada...)
	u.send(t, 100)
	awaitAda(100)
	require.NotContains(t, s.Get(t, "/progress/a", ada...).Body, "ada", "the owner is in the report")
	for who, headers := range map[string][]string{"another": eve, "nobody": nil} {
		require.Equal(t, http.StatusNotFound, s.Get(t, "/progress/a", headers...).Status, who)
		require.Equal(t, http.StatusNotFound, s.Get(t, "/progress/a", append(headers, "Accept", "text/event-stream")...).Status, who)
		// their uploads work, and are not reported
		require.Equal(t, http.StatusOK, s.put(t, "a", "12345", headers...), who)
	}
	u.send(t, 100)
	awaitAda(200)
	u.send(t, 800)
	require.NoError(t, u.Close())
	require.Equal(t, http.StatusOK, <-u.status)
	awaitAda(1000)

	// after the end of an upload, another user's may have the same identity
	require.Eventually(t, func() bool {
		p, _ := s.report(t, "a", ada...)
		return p.Status == "done"
	}, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, http.StatusOK, s.put(t, "a", "12345", eve...))
	require.Eventually(t, func() bool {
		p, ok := s.report(t, "a", eve...)
		return ok && p.Status == "done" && p.Received == 5
	}, 10*time.Second, 5*time.Millisecond)
	_, ok := s.report(t, "a", ada...)
	require.False(t, ok)
	// an upload without an owner belongs to no user
	require.Equal(t, http.StatusOK, s.put(t, "b", "1"))
	require.Eventually(t, func() bool {
		return redis.Exists(t.Context(), "temp:upload:progress:b").Val() == 1
	}, 10*time.Second, 5*time.Millisecond)
	for _, headers := range [][]string{ada, eve, nil} {
		_, ok := s.report(t, "b", headers...)
		require.False(t, ok)
	}
}

func TestIdentityWithItsOwnerIsNotOccupiedByOthers(t *testing.T) {
	server := redistest.Start(t)
	app := newUploadApp(t)
	s := serve(t, redisOption(server), `
		session_lookup {header.X-Token}
		upload_progress /upload/* {http.session.user_id}:{path.1} {
			interval 10ms
			owner {http.session.user_id}
		}
		upload_progress_report /progress/* {http.session.user_id}:{path.1} {
			interval 10ms
			owner {http.session.user_id}
		}
		`+app.route())
	for _, user := range []string{"ada", "eve"} {
		require.NoError(t, server.Client().Set(t.Context(), "session:user:"+user, `{"user_id": "`+user+`"}`, time.Hour).Err())
	}
	told := func(user string, received int64) {
		t.Helper()
		require.Eventually(t, func() bool {
			p, ok := s.report(t, "a", "X-Token", user)
			return ok && p.Received == received
		}, 10*time.Second, 5*time.Millisecond)
	}
	slow := startUpload(t, http.DefaultClient, "http://"+s.Page+"/upload/a", 1000, "X-Token", "eve")
	slow.send(t, 1)
	told("eve", 1)
	require.Equal(t, http.StatusOK, s.put(t, "a", "12345", "X-Token", "ada"))
	told("ada", 5)
	told("eve", 1)
}

func TestRedisThatHangsDoesNotSlowUploads(t *testing.T) {
	server := redistest.Start(t)
	app := newUploadApp(t)
	// a request that waited for Redis would wait as long as this test may take
	s := serve(t, "filewallball {\nlookup_timeout 1h\nredis "+server.Addr()+" {\nread_timeout 1h\nwrite_timeout 1h\n}\n}", uploadRoutes+app.route())
	require.Equal(t, http.StatusOK, s.put(t, "before", "abc"))
	s.await(t, "before", hasStatus("done"))
	server.Pause()
	for range 20 {
		body := strings.Repeat("x", 1<<20)
		require.Equal(t, http.StatusOK, s.put(t, "meanwhile", body))
	}
	server.Continue()
	require.EqualValues(t, 1<<20, s.await(t, "meanwhile", hasStatus("done")).Received)
}

func TestUploadsContinueWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	app := newUploadApp(t)
	s := serve(t, redisOption(server), uploadRoutes+app.route())
	server.Kill()
	require.Equal(t, http.StatusOK, s.put(t, "a", "abc"))
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/progress/a").Status)
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/progress/a", "Accept", "text/event-stream").Status)
	server.Restart()
	require.Eventually(t, func() bool {
		require.Equal(t, http.StatusOK, s.put(t, "a", "abc"))
		return s.Get(t, "/progress/a").Status == http.StatusOK
	}, 10*time.Second, 50*time.Millisecond)
}
