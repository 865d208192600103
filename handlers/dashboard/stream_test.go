package dashboard

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// newPage provisions a handler whose monitor measures only when it is told to.
func newPage(t *testing.T, config string) (*Handler, *lookuptest.App) {
	t.Helper()
	ctx, app := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, directiveName, config)
	require.NoError(t, err)
	page := h.(*Handler)
	page.monitor = &monitor{history: newHistory(), fleet: fleet{self: "a"}}
	return page, app
}

func (h *Handler) measured(at int64) {
	h.monitor.history.add(time.UnixMilli(at), []figures{{Node: "a", Name: "host", Status: "pass", Values: map[string]float64{"clients": float64(at)}}})
}

func TestStreamSendsWhatIsNew(t *testing.T) {
	url, _ := lookuptest.RunCaddy(t, "", directiveName)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/any/path?stream", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	require.True(t, lines.Scan())
	text, ok := strings.CutPrefix(lines.Text(), "data: ")
	require.True(t, ok)
	var v view
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	require.Equal(t, interval.Milliseconds(), v.Interval)
	require.False(t, v.Purge)
}

func TestStreamGoesOnFromWhatThePageHas(t *testing.T) {
	t.Parallel()
	h, _ := newPage(t, `{"purge": true}`)
	for at := int64(1000); at <= 3000; at += 1000 {
		h.measured(at)
	}
	v, _ := h.view(1000, "a")
	require.Equal(t, []int64{2000, 3000}, v.Times)
	require.Equal(t, []nullable{2000, 3000}, v.Series["clients"])
	require.True(t, v.Purge)
	require.Equal(t, "a", v.Node)

	for _, since := range []string{"x", "1.5", "99999999999999999999"} {
		a := lookuptest.Serve(h, lookuptest.Get("/?stream&since="+since))
		require.Equal(t, http.StatusBadRequest, a.Status, since)
	}
}

func TestStreamEndsWithItsConfiguration(t *testing.T) {
	t.Parallel()
	h, _ := newPage(t, `{}`)
	done := make(chan struct{})
	h.done = done
	ended := make(chan lookuptest.Answer)
	go func() { ended <- lookuptest.Serve(h, lookuptest.Get("/?stream")) }()
	require.Eventually(t, func() bool { return h.streams.Load() == 1 }, 10*time.Second, time.Millisecond)
	close(done)
	a := <-ended
	require.NoError(t, a.Err)
	require.Zero(t, h.streams.Load())
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	h, _ := newPage(t, `{}`)
	h.streams.Store(maxStreams)
	a := lookuptest.Serve(h, lookuptest.Get("/?stream"))
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.NotEmpty(t, a.Header().Get("Retry-After"))
	require.EqualValues(t, maxStreams, h.streams.Load(), strconv.Itoa(maxStreams))
}
