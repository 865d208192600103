package upload

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// event is a server-sent event.
type event struct {
	Name, ID string
	progress
}

// listen asks for events; each is sent to the channel, which ends with the stream.
func (s site) listen(t *testing.T, id string, headers ...string) (events <-chan event, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Page+"/progress/"+id, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	out := make(chan event, 10_000)
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, resp.StatusCode
	}
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(out)
		defer resp.Body.Close()
		var e event
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				e.Name = value
			case "id":
				e.ID = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.progress); err != nil {
					t.Error(err)
				}
			case "":
				if e.ID != "" {
					out <- e
				}
				e = event{}
			}
		}
	}()
	t.Cleanup(func() {
		_ = resp.Body.Close()
		<-read
	})
	return out, resp.StatusCode
}

func next(t *testing.T, events <-chan event) event {
	t.Helper()
	select {
	case e, ok := <-events:
		require.True(t, ok, "the stream has ended")
		return e
	case <-time.After(10 * time.Second):
		require.Fail(t, "no event")
		return event{}
	}
}

func TestEventsFollowAnUploadToItsEnd(t *testing.T) {
	app := newUploadApp(t)
	s := serve(t, redisOption(redistest.Start(t)), "encode gzip {\nminimum_length 1\n}\n"+uploadRoutes+app.route())
	_, status := s.listen(t, "a")
	require.Equal(t, http.StatusNotFound, status)
	u := startUpload(t, http.DefaultClient, "http://"+s.Page+"/upload/a", 1000)
	u.send(t, 100)
	s.await(t, "a", func(p progress) bool { return p.Received == 100 })

	events, _ := s.listen(t, "a") // in gzip: Go's client asks for it
	first := next(t, events)
	require.EqualValues(t, 100, first.Received)
	u.send(t, 100)
	var last event
	for last = first; last.Received != 200; {
		before := last
		last = next(t, events)
		require.Greater(t, last.Timestamp, before.Timestamp, "an event came twice")
	}
	u.send(t, 800)
	require.NoError(t, u.Close())
	require.Equal(t, http.StatusOK, <-u.status)
	var all []event
	for e := range events {
		all = append(all, e)
	}
	require.GreaterOrEqual(t, len(all), 2)
	done, end := all[len(all)-2], all[len(all)-1]
	require.Equal(t, "", done.Name)
	require.Equal(t, "done", done.Status)
	require.Equal(t, "end", end.Name)
	require.Equal(t, done.progress, end.progress)

	_, status = s.listen(t, "a", "Last-Event-ID", end.ID)
	require.Equal(t, http.StatusNoContent, status, "a browser would come back forever")
	again, _ := s.listen(t, "a", "Last-Event-ID", last.ID)
	require.Equal(t, "done", next(t, again).Status)
	require.Equal(t, "end", next(t, again).Name)
	_, more := <-again
	require.False(t, more)
}

func TestEventsResumeAfterAReloadOfTheConfiguration(t *testing.T) {
	option := redisOption(redistest.Start(t))
	app := newUploadApp(t)
	other, _ := startNode(t, option, uploadRoutes+app.route())
	s := serve(t, option, uploadRoutes+app.route())
	u := startUpload(t, http.DefaultClient, "http://"+other.Page+"/upload/a", 1000)
	u.send(t, 100)
	s.await(t, "a", func(p progress) bool { return p.Received == 100 })
	events, _ := s.listen(t, "a")
	next(t, events)
	s.Load(t, option, uploadRoutes+"header X-New config\n"+app.route())
	var last event
	for e := range events { // ends with the configuration
		last = e
	}
	resumed, _ := s.listen(t, "a", "Last-Event-ID", last.ID)
	require.NotEqual(t, last.ID, next(t, resumed).ID)
}

func TestListenersDoNotHoldUpAShutdown(t *testing.T) {
	server := redistest.Start(t)
	require.NoError(t, server.Client().Set(t.Context(), "temp:upload:progress:a", `{"status": "uploading"}`, time.Hour).Err())
	node, _ := startNode(t, redisOption(server), uploadRoutes)
	events, _ := node.listen(t, "a")
	next(t, events)
	sitetest.Request(t, http.MethodPost, "http://"+node.Admin+"/stop", "")
	select {
	case _, more := <-events:
		require.False(t, more)
	case <-time.After(10 * time.Second):
		require.Fail(t, "the stream has not ended")
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestEventIsNotRepeatedAfterAReconnect(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, redisOption(server), uploadRoutes)
	set := func(timestamp int, status string) {
		text := fmt.Sprintf(`{"progress": 1, "status": %q, "timestamp": %d, "started": 1000, "owner": "ada"}`, status, timestamp)
		require.NoError(t, server.Client().Set(t.Context(), "temp:upload:progress:a", text, time.Hour).Err())
	}
	set(2000, "uploading")
	events, _ := s.listen(t, "a")
	first := next(t, events)
	resumed, _ := s.listen(t, "a", "Last-Event-ID", first.ID)
	strange, _ := s.listen(t, "a", "Last-Event-ID", "9-9-9")
	require.EqualValues(t, 2000, next(t, strange).Timestamp)
	set(2001, "uploading")
	require.EqualValues(t, 2001, next(t, resumed).Timestamp)
	require.NoError(t, server.Client().Del(t.Context(), "temp:upload:progress:a").Err())
	for _, stream := range []<-chan event{events, resumed, strange} {
		for e := range stream { // ends, since there is nothing to wait for
			require.Empty(t, e.Name)
		}
	}
}

var reads = regexp.MustCompile(`cmdstat_getrange:calls=(\d+)`)

func TestOneReadPerIntervalHoweverManyListen(t *testing.T) {
	server := redistest.Start(t)
	redis := server.Client()
	const interval = 20 * time.Millisecond
	s := serve(t, redisOption(server), "upload_progress_report /progress/* {path.1} {\ninterval "+interval.String()+"\n}")
	count := func() int {
		stats, err := redis.Info(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		found := reads.FindStringSubmatch(stats)
		require.NotNil(t, found, "reads are another command now: %s", stats)
		n, err := strconv.Atoi(found[1])
		require.NoError(t, err)
		return n
	}
	set := func(n int, status string) {
		text := fmt.Sprintf(`{"progress": %d, "status": %q, "timestamp": %d, "started": 1000}`, n, status, 1000+n)
		require.NoError(t, redis.Set(t.Context(), "temp:upload:progress:a", text, time.Hour).Err())
	}
	set(0, "uploading")
	s.Get(t, "/progress/a")
	before, began := count(), time.Now()
	const listeners = 60
	streams := make([]<-chan event, listeners)
	for i := range streams {
		streams[i], _ = s.listen(t, "a")
	}
	for n := range 10 {
		for _, stream := range streams {
			require.Equal(t, n, next(t, stream).Progress)
		}
		set(n+1, map[bool]string{true: "done", false: "uploading"}[n == 9])
	}
	var group sync.WaitGroup
	for _, stream := range streams {
		group.Go(func() {
			for range stream { // to its end
			}
		})
	}
	group.Wait()
	require.LessOrEqual(t, count()-before, int(time.Since(began)/interval)+2)
}
