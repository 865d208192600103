// Logging sessions that cannot be decoded.

package session

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// undecodableFor is how long a session counts as undecodable after its last lookup.
	undecodableFor = time.Minute
	// mostUndecodable is the largest number of sessions in the log.
	mostUndecodable = 1000
)

// undecodableLog logs when the first session of a route cannot be decoded, and
// when all can be decoded again. It does not log each session or request,
// because a wrong configuration affects all of them.
type undecodableLog struct {
	logger *zap.Logger
	seed   maphash.Seed

	any      atomic.Bool // false while all sessions decode, so that a hit takes no lock
	mu       sync.Mutex
	sessions map[uint64]time.Time // the last lookup, by the hash of the identity
}

func newUndecodableLog(logger *zap.Logger) *undecodableLog {
	return &undecodableLog{logger: logger, seed: maphash.MakeSeed(), sessions: make(map[uint64]time.Time)}
}

// failed reports a session that cannot be decoded. The reason never holds
// stored data.
func (l *undecodableLog) failed(id, route, store string, reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.forget(now)
	if len(l.sessions) == 0 {
		l.logger.Error("session cannot be decoded", zap.String("route", route),
			zap.String("store", store), zap.Error(reason))
	}
	if len(l.sessions) < mostUndecodable {
		l.sessions[maphash.String(l.seed, id)] = now
	}
	l.any.Store(true)
}

// succeeded reports a session that was decoded, or is gone.
func (l *undecodableLog) succeeded(id, route, store string) {
	if !l.any.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, maphash.String(l.seed, id))
	l.forget(time.Now())
	if len(l.sessions) == 0 {
		l.any.Store(false)
		l.logger.Info("sessions can be decoded again", zap.String("route", route), zap.String("store", store))
	}
}

// forget drops the sessions that were not looked up for a while.
func (l *undecodableLog) forget(now time.Time) {
	for hash, last := range l.sessions {
		if now.Sub(last) > undecodableFor {
			delete(l.sessions, hash)
		}
	}
}
