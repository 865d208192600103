package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	// eventTimeout is the longest that a browser may take to accept an event.
	eventTimeout = 30 * time.Second
	// maxStreams bounds the pages that are open at a time, per directive.
	maxStreams = 100
)

// stream sends the history, and then each new measurement, until the browser leaves or
// the configuration ends. ?since= is the time of the page's last measurement, ?node= the
// node that it shows.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	node, after := query.Get("node"), int64(0)
	if node == "" {
		node = allNodes
	}
	if last := query.Get("since"); last != "" {
		var err error
		if after, err = strconv.ParseInt(last, 10, 64); err != nil {
			return caddyhttp.Error(http.StatusBadRequest, errors.New("since is not right: want milliseconds of Unix time"))
		}
	}
	if h.streams.Add(1) > maxStreams {
		h.streams.Add(-1)
		w.Header().Set("Retry-After", "10")
		return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("too many dashboards are open"))
	}
	defer h.streams.Add(-1)

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for an nginx in front
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	for {
		v, changed := h.view(after, node)
		body, err := json.Marshal(v)
		if err != nil {
			return err
		}
		// the server's own deadline is for a whole response
		if err := control.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", body); err != nil || control.Flush() != nil {
			return nil // the browser has left
		}
		if n := len(v.Times); n > 0 {
			after = v.Times[n-1]
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil
		case <-h.done:
			return nil // the browser reconnects to the next configuration
		}
	}
}

// view is the event for a page that shows a node and has the figures up to a time.
func (h *Handler) view(after int64, node string) (v view, changed <-chan struct{}) {
	v, changed = h.monitor.history.since(after, node)
	alert := h.app.Policy().Alert
	v.Node, v.Purge = h.monitor.fleet.self, h.Purge
	v.Limits = limits{
		HitRateBelow: alert.HitRateBelow, LatencyAbove: float64(alert.LatencyAbove) / float64(time.Millisecond),
		MemoryAbove: alert.MemoryAbove, ClientsAbove: alert.ClientsAbove,
	}
	return v, changed
}
