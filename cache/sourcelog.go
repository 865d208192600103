// Logging requests to a source that fail, by lookup: the counters of a source show
// neither the lookup nor the time of the first failure.

package cache

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Log messages.
const (
	logSourceFails   = "source failed"
	logSourceAnswers = "source answers again"
)

const (
	// sourceLogEach is the least time between two warnings of the same failure,
	// while the state does not change.
	sourceLogEach = time.Minute
	// sourceLogCalm is how long nothing must have failed before logSourceAnswers, so
	// that a source which fails now and then does not fill the log.
	sourceLogCalm = 10 * time.Second
)

// sourceState is whether the source of the lookups of one name fails. It
// outlives a configuration. Its zero value is ready to use.
type sourceState struct {
	failing atomic.Bool // so that a success costs nothing while nothing fails

	mu     sync.Mutex
	latest time.Time // failure
	warned map[SourceFailure]time.Time
}

// failed notes a failure. It logs a warning if the failure is of a new kind, or if
// the last warning of its kind is older than sourceLogEach.
func (s *sourceState) failed(logger *slog.Logger, route, source string, err error) {
	now, failure := time.Now(), sourceFailureOf(err)
	s.mu.Lock()
	s.failing.Store(true)
	s.latest = now
	last, known := s.warned[failure]
	due := !known || now.Sub(last) >= sourceLogEach
	if due {
		if s.warned == nil {
			s.warned = make(map[SourceFailure]time.Time)
		}
		s.warned[failure] = now
	}
	s.mu.Unlock()
	if due {
		logger.Warn(logSourceFails, slog.String("route", route), slog.String("source", source),
			slog.String("reason", failure.String()), slog.String("error", failureText(err)))
	}
}

// worked notes an answer.
func (s *sourceState) worked(logger *slog.Logger, route, source string) {
	if !s.failing.Load() {
		return
	}
	s.mu.Lock()
	recovered := s.failing.Load() && time.Since(s.latest) >= sourceLogCalm
	if recovered {
		s.failing.Store(false)
		clear(s.warned)
	}
	s.mu.Unlock()
	if recovered {
		logger.Info(logSourceAnswers, slog.String("route", route), slog.String("source", source))
	}
}
