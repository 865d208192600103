// The record of an upload, and the outcome of an upload.

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
	size       int64 // -1: unknown
	started    time.Time
	meter      meter // used by the publisher alone
}

// The states of an upload.
const (
	uploading        = "uploading"
	uploadProcessing = "processing" // the body is read completely, and no response was written yet
	uploadDone       = "done"
	uploadError      = "error"
)

// uploadRecord is the record of an upload. Clients of the store may read it as
// well. Times are Unix seconds.
type uploadRecord struct {
	// Progress is in percent, rounded down; -1 is unknown.
	Progress   int     `json:"progress"`
	Status     string  `json:"status"`
	HTTPStatus int     `json:"http_status,omitempty"` // of an error
	Timestamp  float64 `json:"timestamp"`             // time of this state
	Received   int64   `json:"received"`              // bytes
	Size       int64   `json:"size"`                  // bytes; -1 is unknown
	Rate       int64   `json:"rate"`                  // bytes per second
	Started    float64 `json:"started"`
	Owner      string  `json:"owner,omitempty"` // not reported to clients
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// complete reports whether the body was read to its end.
func (u *upload) complete() bool {
	return u.eof.Load() || u.size >= 0 && u.received.Load() >= u.size
}

// record returns the record of an upload that has not ended.
func (u *upload) record(now time.Time) uploadRecord {
	complete := u.eof.Load() // before received, which then has all bytes up to the end
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

// finalRecord returns the record of an upload that ended with an HTTP status; 0
// is success.
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

// verdict is the outcome of an upload, from what the next handler answered or
// returned: 0 for success, else an HTTP status.
//
// A body that could not be read decides first, because the answer of the
// handler (such as 502 by a proxy) does not give the reason. A handler that
// answers 2xx succeeded, even if it did not read the whole body. A redirect
// before the body was read means that the upload was not accepted here.
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

// rateWindow is the time constant of the rate: bytes of that age count 1/e of
// those that arrive now.
const rateWindow = 5 * time.Second

// meter measures how fast bytes arrive, smoothed over about the last [rateWindow].
type meter struct {
	at           time.Time // of the last reading; zero before the first
	received     int64     // at that reading
	bytes        float64   // weighted
	seconds      float64   // weighted like bytes, so that there is no bias at first
	whole        bool
	wholeInBytes int64 // the mean rate of a complete body
}

// rate is the rate in bytes per second. Once the body is complete, it is the
// mean of the whole.
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
