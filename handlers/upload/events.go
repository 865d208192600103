// The report as server-sent events, as the HTML standard has them:
// https://html.spec.whatwg.org/multipage/server-sent-events.html

package upload

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// heartbeat is how often an idle stream sends a comment.
	heartbeat = 15 * time.Second
	// eventTimeout is how long a client may take to accept an event.
	eventTimeout = 30 * time.Second
	// reconnectAfter is how long a browser waits before it reconnects.
	reconnectAfter = time.Second
)

// stream sends an event for each change until the upload has ended or the client has
// left. When the configuration ends, the stream ends, so that the browser reconnects to
// the next one. If that has another store, without this upload, the stream goes on.
func (h *Report) stream(w http.ResponseWriter, r *http.Request, key, owner string) error {
	defer h.app.Hold()()
	watch, err := h.hub.join(key)
	if err != nil {
		w.Header().Set("Retry-After", "5")
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	defer watch.leave()
	defer h.cache.Stats().Uploads.Listen()()
	news, changed, ok := watch.firstNews(r.Context())
	if !ok {
		return nil
	}
	if news.err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, news.err)
	}
	if !h.mayRead(news.record, owner) {
		return caddyhttp.Error(http.StatusNotFound, errNoUpload)
	}
	seen := parseEventID(r.Header.Get("Last-Event-ID"))
	if !isRunning(news.record) && !eventIDOf(news.record).after(seen) {
		w.WriteHeader(http.StatusNoContent) // a browser does not reconnect after it
		return nil
	}

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for an nginx in front
	w.WriteHeader(http.StatusOK)
	events := eventStream{
		report: h, owner: owner, seen: seen, alive: time.NewTicker(heartbeat),
		out: eventWriter{w: w, control: http.NewResponseController(w)},
	}
	defer events.alive.Stop()
	events.run(r.Context(), watch, news, changed)
	return nil
}

// eventStream is a response with events.
type eventStream struct {
	report *Report
	owner  string
	out    eventWriter
	alive  *time.Ticker // when to send a comment
	seen   eventID      // the last event that the client has
	sent   string       // the text of its record, if this stream has sent it
}

// run sends the news, and then those of each change.
func (s *eventStream) run(ctx context.Context, watch *uploadWatch, news uploadNews, changed <-chan struct{}) {
	if s.out.send("retry: %d\n\n", reconnectAfter.Milliseconds()) != nil {
		return // the client has left
	}
	done := s.report.done
	for s.send(news) {
		select {
		case <-changed:
			news, changed = watch.news()
		case <-s.alive.C:
			if s.out.send(": \n\n") != nil {
				return
			}
		case <-ctx.Done():
			return
		case <-done:
			if !s.report.app.Replaced() {
				return
			}
			done = nil
		}
	}
}

// send sends the news unless the client has them. It reports whether there may be more:
// not if the upload has ended, or if the client has left.
func (s *eventStream) send(news uploadNews) bool {
	if !s.report.mayRead(news.record, s.owner) {
		return false // it has expired, or another upload has the identity now
	}
	if id := eventIDOf(news.record); id.after(s.seen) && news.record.Text() != s.sent {
		s.seen, s.sent = id, news.record.Text()
		if s.out.send("id: %s\ndata: %s\n\n", id, reportOf(news.record)) != nil {
			return false
		}
		s.alive.Reset(heartbeat)
	}
	if news.last && !isRunning(news.record) {
		_ = s.out.send("event: end\nid: %s\ndata: %s\n\n", s.seen, reportOf(news.record))
	}
	return !news.last
}

// eventWriter writes events and flushes each, also through wrapped responses.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (o eventWriter) send(format string, args ...any) error {
	// the server's own deadline is for a whole response
	if err := o.control.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := fmt.Fprintf(o.w, format, args...); err != nil {
		return err
	}
	return o.control.Flush()
}

// eventID identifies the upload of an event and its time, in microseconds of
// Unix time; 0 is unknown.
type eventID struct{ started, timestamp int64 }

func eventIDOf(record *cache.Record) (id eventID) {
	for name, to := range map[string]*int64{"started": &id.started, "timestamp": &id.timestamp} {
		value, _ := record.Field(name)
		if at, ok := value.Time(); ok {
			*to = at.UnixMicro()
		}
	}
	return id
}

func (id eventID) String() string { return fmt.Sprintf("%d-%d", id.started, id.timestamp) }

// after reports whether an event is newer than the last one that the client
// received: it is later, or about another upload.
func (id eventID) after(seen eventID) bool {
	return id.timestamp == 0 || id.started != seen.started || id.timestamp > seen.timestamp
}

// parseEventID reads the Last-Event-ID of a browser. An invalid one is the zero
// ID.
func parseEventID(text string) (id eventID) {
	started, timestamp, _ := strings.Cut(text, "-")
	var errs [2]error
	id.started, errs[0] = strconv.ParseInt(started, 10, 64)
	id.timestamp, errs[1] = strconv.ParseInt(timestamp, 10, 64)
	if errors.Join(errs[:]...) != nil || id.timestamp <= 0 {
		return eventID{}
	}
	return id
}

// wantsEvents reports whether an Accept header names text/event-stream, with a
// weight not below that of JSON (RFC 9110, section 12.5.1). Wildcards get JSON.
func wantsEvents(accept []string) bool {
	var events float64
	var plain [3]float64 // application/json, application/*, */*
	for i := range plain {
		plain[i] = -1
	}
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		mediaType, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		switch mediaType {
		case "text/event-stream":
			events = max(events, q)
		case "application/json":
			plain[0] = max(plain[0], q)
		case "application/*":
			plain[1] = max(plain[1], q)
		case "*/*":
			plain[2] = max(plain[2], q)
		}
	}
	for _, q := range plain { // the most specific counts
		if q >= 0 {
			return events > 0 && events >= q
		}
	}
	return events > 0
}
