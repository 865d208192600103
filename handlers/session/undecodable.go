// Telling the operator of sessions that cannot be read.

package session

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// forgotten is how long a session that could not be decoded counts when
	// nobody asks for it again.
	forgotten = time.Minute
	// mostUndecodable is how many such sessions are known at a time.
	mostUndecodable = 1000
)

// undecodableLog reports when the first session of a route cannot be decoded,
// and when all can be again, but not each of them and not each request: where
// the configuration is wrong, no session can be.
type undecodableLog struct {
	logger *zap.Logger
	seed   maphash.Seed

	any      atomic.Bool // so that a hit where all is well takes no lock
	mu       sync.Mutex
	sessions map[uint64]time.Time // when they were last asked for, by the hash of the identity
}

func newUndecodableLog(logger *zap.Logger) *undecodableLog {
	return &undecodableLog{logger: logger, seed: maphash.MakeSeed(), sessions: make(map[uint64]time.Time)}
}

// failed reports a session that cannot be decoded. The reason never repeats
// what is stored.
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

// succeeded notes a session that is well, or gone.
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

// forget drops the sessions that have not been looked up lately.
func (l *undecodableLog) forget(now time.Time) {
	for hash, last := range l.sessions {
		if now.Sub(last) > forgotten {
			delete(l.sessions, hash)
		}
	}
}
