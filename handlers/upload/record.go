// What is published of an upload, and how it comes to an end.

package upload

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// upload is a request whose body is counted.
type upload struct {
	tally
	key, owner string
	size       int64 // -1 where it is not known
	started    time.Time
	meter      meter // of the publisher alone
}

// The states of an upload.
const (
	uploading        = "uploading"
	uploadProcessing = "processing" // read completely, and not answered yet
	uploadDone       = "done"
	uploadError      = "error"
)

// uploadRecord is the record of an upload, as the report and any other client
// of the store read it. Times are Unix seconds.
type uploadRecord struct {
	// Progress in percent, rounded down; -1 is unknown.
	Progress   int     `json:"progress"`
	Status     string  `json:"status"`
	HTTPStatus int     `json:"http_status,omitempty"` // of an error
	Timestamp  float64 `json:"timestamp"`             // when this was true
	Received   int64   `json:"received"`              // bytes
	Size       int64   `json:"size"`                  // bytes; -1 is unknown
	Rate       int64   `json:"rate"`                  // bytes per second
	Started    float64 `json:"started"`
	Owner      string  `json:"owner,omitempty"` // never told by the report
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// complete reports whether the body was read to its end.
func (u *upload) complete() bool {
	return u.eof.Load() || u.size >= 0 && u.received.Load() >= u.size
}

// record is what there is to say of an upload that has not ended.
func (u *upload) record(now time.Time) uploadRecord {
	complete := u.eof.Load() // before received: what is read last is counted first
	received := u.received.Load()
	complete = complete || u.size >= 0 && received >= u.size
	r := uploadRecord{
		Progress: -1, Status: uploading, Timestamp: unixSeconds(now), Received: received, Size: u.size,
		Rate: u.meter.rate(now, u.started, received, complete), Started: unixSeconds(u.started), Owner: u.owner,
	}
	if u.size > 0 {
		r.Progress = int(float64(min(received, u.size)) / float64(u.size) * 100)
	}
	if complete {
		r.Status = uploadProcessing
		if u.size >= 0 {
			r.Progress = 100
		}
	}
	return r
}

// finalRecord is what there is to say of an upload that has ended with an HTTP
// status, which is 0 for one that succeeded.
func (u *upload) finalRecord(now time.Time, failure int) uploadRecord {
	r := u.record(now)
	r.Rate = meanRate(r.Received, now.Sub(u.started))
	if failure != 0 {
		r.Status, r.HTTPStatus = uploadError, failure
		return r
	}
	r.Status, r.Progress = uploadDone, 100
	return r
}

// verdict is how the upload ended, from what the next handler answered or
// returned: 0 where it succeeded, else the HTTP status that says why not.
//
// A body that could not be read decides before all others, because what the
// handler made of it (a proxy: 502) does not say why. A handler that answers
// 2xx has what it wants, even if it did not read all. A redirect that comes
// before the body was read says that it was not taken here.
func (u *upload) verdict(ctx context.Context, status int, err error) int {
	failure, complete := int(u.failure.Load()), u.complete()
	var refused caddyhttp.HandlerError
	switch {
	case failure != 0 && !complete:
		return failure
	case err != nil && (errors.Is(err, context.Canceled) || errors.Is(ctx.Err(), context.Canceled)):
		return lookup.StatusClientClosed
	case errors.As(err, &refused) && refused.StatusCode != 0:
		return refused.StatusCode
	case err != nil:
		return http.StatusInternalServerError
	case status >= http.StatusBadRequest, status >= http.StatusMultipleChoices && !complete:
		return status
	}
	return 0
}

// rateWindow is the time constant of the rate: what came so long ago counts
// 1/e of what comes now.
const rateWindow = 5 * time.Second

// meter measures how fast bytes arrive, smoothed over about the last [rateWindow].
type meter struct {
	at           time.Time // of the last reading; zero before the first
	received     int64     // by then
	bytes        float64   // weighted
	seconds      float64   // weighted alike, so that there is no bias at first
	whole        bool
	wholeInBytes int64 // the mean rate of a body that is complete
}

// rate is the rate in bytes per second. Once the body is complete, it stays
// the mean of the whole.
func (m *meter) rate(now, started time.Time, received int64, complete bool) int64 {
	if m.whole {
		return m.wholeInBytes
	}
	if complete {
		m.whole, m.wholeInBytes = true, meanRate(received, now.Sub(started))
		return m.wholeInBytes
	}
	if m.at.IsZero() {
		m.at = started
	}
	elapsed := now.Sub(m.at).Seconds()
	decay := math.Exp(-elapsed / rateWindow.Seconds())
	m.bytes = m.bytes*decay + float64(received-m.received)
	m.seconds = m.seconds*decay + elapsed
	m.at, m.received = now, received
	if m.seconds <= 0 {
		return 0
	}
	return int64(m.bytes / m.seconds)
}

func meanRate(bytes int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(bytes) / d.Seconds())
}
