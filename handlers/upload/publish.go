// The goroutine that writes the record of an upload, for as long as it runs.

package upload

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// lastWrite is how long the final record of an upload may take to be written.
	lastWrite = 5 * time.Second
	// maxIdleInterval is the longest time between two writes of an idle upload,
	// unless the interval is longer.
	maxIdleInterval = 10 * time.Second
	// maxFinishing is how many publishers of a handler may try again to write
	// the final record: while the store is down, each keeps a goroutine.
	maxFinishing = 1000
)

// publisher writes the record of one upload: at once, then every interval in
// which something came, and when it has ended. Where nothing comes it writes now
// and then, so that an idle upload is told from one whose node died. What the
// store is too slow for is left out and not made up for: the next write says all
// that is to be said.
//
// Each write replaces only what the publisher knows to be there, so that of
// several uploads under one identity, on whichever nodes, one is published: the
// latest of its owner. The others give up.
type publisher struct {
	ctx      context.Context // that does not end with the request
	upload   *upload
	cache    *cache.Cache
	logger   *zap.Logger
	ttl      time.Duration
	interval time.Duration
	timeout  time.Duration // of one write
	maxSize  int
	// finishing has room for those of the handler that try the last write again.
	finishing chan struct{}

	ended   chan struct{} // closed after failure is set
	failure int
	endedAt time.Time

	last *cache.Record // what is in the store, as far as we know
	own  bool          // we have written

	told   uploadRecord // what we have written
	toldAt time.Time    // zero before the first
}

// end is called with the status with which the upload ended; 0 is success.
func (p *publisher) end(failure int) {
	p.failure, p.endedAt = failure, time.Now()
	p.cache.Stats().Uploads.End(failure == 0)
	close(p.ended)
}

// run publishes until the upload has ended, and for at most [lastWrite] after.
func (p *publisher) run() {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for p.progress(time.Now()) != publishLost {
		select {
		case <-p.ended:
			p.finish()
			return
		case <-ticker.C:
		}
	}
}

// progress writes how far the upload is, where that is due.
func (p *publisher) progress(now time.Time) published {
	r := p.upload.record(now)
	if !p.due(r, now) {
		return publishDone
	}
	result := p.write(p.ctx, r)
	if result == publishDone {
		p.told, p.toldAt = r, now
	}
	return result
}

// due reports whether a record says something new, or it is time to show that
// its process still runs.
func (p *publisher) due(r uploadRecord, now time.Time) bool {
	// half an interval early, rather than half of one late
	return p.toldAt.IsZero() || r.Received != p.told.Received || r.Status != p.told.Status ||
		now.Sub(p.toldAt) >= p.idleInterval()-p.interval/2
}

// idleInterval is the time between two writes of an upload that is idle.
func (p *publisher) idleInterval() time.Duration {
	return max(p.interval, min(p.ttl/3, maxIdleInterval))
}

// finish writes the final record, which is worth other tries, as long as not
// too many others are at that: less and less often where the store is out of
// reach, soon where another process was writing.
func (p *publisher) finish() {
	ctx, cancel := context.WithTimeout(p.ctx, lastWrite)
	defer cancel()
	final := p.upload.finalRecord(p.endedAt, p.failure)
	result := p.write(ctx, final)
	if result == publishDone || result == publishLost {
		return
	}
	select {
	case p.finishing <- struct{}{}:
		defer func() { <-p.finishing }()
	default:
		p.debug(logUploadNotPublished, errTooManyFinishing)
		return
	}
	for pause := 5 * time.Millisecond; result == publishSkipped || result == publishUnavailable; pause *= 2 {
		most := 100 * time.Millisecond
		if result == publishUnavailable {
			most = time.Second
		}
		pause = min(pause, most)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		result = p.write(ctx, final)
	}
}

var errTooManyFinishing = errors.New("too many uploads wait for the store")

// published is what came of a write.
type published int

const (
	publishDone        published = iota
	publishSkipped               // another process was writing, or it was refused
	publishUnavailable           // the store was out of reach or too slow
	publishLost                  // another upload has the identity, or there is no store any more
)

// Messages of the log. None has the upload's identity, which is client input.
const (
	logUploadNotPublished = "upload progress not published"
	logUploadGivenUp      = "upload progress given up: another upload has its identity"
)

func (p *publisher) write(ctx context.Context, r uploadRecord) published {
	record, err := cache.Encode(r, p.maxSize)
	if err != nil {
		p.debug(logUploadNotPublished, err)
		return publishLost
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for range 3 { // the first may find another record, the second a lease
		found, done, err := p.cache.Replace(ctx, p.upload.key, p.last, record, p.ttl)
		switch {
		case errors.Is(err, cache.ErrClosed):
			return publishLost
		case errors.Is(err, cache.ErrUnavailable):
			p.debug(logUploadNotPublished, err)
			return publishUnavailable
		case err != nil:
			p.debug(logUploadNotPublished, err)
			return publishSkipped
		case done:
			p.last, p.own = record, true
			return publishDone
		case found.Record == nil:
			return publishSkipped
		case !p.mayReplace(found.Record):
			p.debug(logUploadGivenUp, nil)
			return publishLost
		}
		p.last = found.Record
	}
	return publishSkipped
}

// mayReplace reports whether this upload's record may take the place of one that
// was found: not while that is of another owner's upload that runs, and not if
// that upload began later, unless it was over before we wrote anything.
func (p *publisher) mayReplace(found *cache.Record) bool {
	running := isRunning(found)
	owner, _ := found.Field("owner")
	if running && owner.Text() != p.upload.owner {
		return false
	}
	started, _ := found.Field("started")
	at, ok := started.Time()
	later := ok && at.Sub(p.upload.started) > time.Microsecond // which is how exactly it is written
	return !later || !running && !p.own
}

// isRunning reports whether an upload's record is of one that has not ended.
func isRunning(r *cache.Record) bool {
	status, _ := r.Field("status")
	return status.Text() == uploading || status.Text() == uploadProcessing
}

func (p *publisher) debug(message string, err error) {
	if c := p.logger.Check(zapcore.DebugLevel, message); c != nil {
		c.Write(zap.Error(err))
	}
}
