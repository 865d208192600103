// The goroutine that writes the record of an upload while it runs.

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
	// maxFinishing is how many publishers of a handler may retry the final
	// write: while the store is down, each keeps a goroutine.
	maxFinishing = 1000
)

// publisher writes the record of one upload: first, then once per interval in
// which bytes arrived, and at the end. An idle upload is written now and then,
// so that it differs from one whose node died. If the store is slow, writes are
// skipped: the next record replaces them.
//
// Each write replaces only the record that the publisher wrote or read last. Of several
// uploads with one identity, on any nodes, one is published: the latest of its owner.
// The others stop.
type publisher struct {
	ctx      context.Context // that does not end with the request
	upload   *upload
	cache    *cache.Cache
	logger   *zap.Logger
	ttl      time.Duration
	interval time.Duration
	timeout  time.Duration // of one write
	maxSize  int
	// finishing has a slot for each publisher of the handler that retries its
	// final write.
	finishing chan struct{}

	ended   chan struct{} // closed after failure is set
	failure int
	endedAt time.Time

	last *cache.Record // the record in the store, as it was last written or read
	own  bool          // this publisher has written

	written   uploadRecord // the last record that this publisher wrote
	writtenAt time.Time    // zero before the first
}

// end stores the status with which the upload ended; 0 is success.
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

// progress writes the current state, if a write is due.
func (p *publisher) progress(now time.Time) published {
	r := p.upload.record(now)
	if !p.due(r, now) {
		return publishDone
	}
	result := p.write(p.ctx, r)
	if result == publishDone {
		p.written, p.writtenAt = r, now
	}
	return result
}

// due reports whether a record has changed, or an idle upload must be written
// again.
func (p *publisher) due(r uploadRecord, now time.Time) bool {
	// half an interval early, rather than half of one late
	return p.writtenAt.IsZero() || r.Received != p.written.Received || r.Status != p.written.Status ||
		now.Sub(p.writtenAt) >= p.idleInterval()-p.interval/2
}

// idleInterval is the time between two writes of an idle upload.
func (p *publisher) idleInterval() time.Duration {
	return max(p.interval, min(p.ttl/3, maxIdleInterval))
}

// finish writes the final record. It retries, unless too many publishers do: with a
// pause that grows to 1 s while the store is unavailable, and to 100 ms if another
// process was writing.
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

// published is the result of a write.
type published int

const (
	publishDone        published = iota
	publishSkipped               // another process was writing, or the write was refused
	publishUnavailable           // the store was unreachable or too slow
	publishLost                  // another upload has the identity, or the store is gone
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

// mayReplace reports whether this upload's record may replace the one that was
// found. It may not replace a running upload of another owner, nor an upload
// that began later, unless that one ended before this publisher wrote anything.
func (p *publisher) mayReplace(found *cache.Record) bool {
	running := isRunning(found)
	owner, _ := found.Field("owner")
	if running && owner.Text() != p.upload.owner {
		return false
	}
	started, _ := found.Field("started")
	at, ok := started.Time()
	later := ok && at.Sub(p.upload.started) > time.Microsecond // the precision of records
	return !later || !running && !p.own
}

// isRunning reports whether an upload's record is that of a running upload.
func isRunning(r *cache.Record) bool {
	status, _ := r.Field("status")
	return status.Text() == uploading || status.Text() == uploadProcessing
}

func (p *publisher) debug(message string, err error) {
	if c := p.logger.Check(zapcore.DebugLevel, message); c != nil {
		c.Write(zap.Error(err))
	}
}
