// Telling the operator of sessions that cannot be read.

package session

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// quiet is how long there must have been none before the next is a new case.
const quiet = time.Minute

// undecodableLog reports sessions that cannot be decoded: the first, and not
// those that follow it. A log line per request would be as many as a client
// cares to cause.
type undecodableLog struct {
	logger *zap.Logger

	mu   sync.Mutex
	last time.Time
}

// report reports one, with the reason, which never repeats what is stored.
func (l *undecodableLog) report(route, store string, reason error, now time.Time) {
	l.mu.Lock()
	known := !l.last.IsZero() && now.Sub(l.last) < quiet
	l.last = now
	l.mu.Unlock()
	if !known {
		l.logger.Error("session cannot be decoded", zap.String("route", route),
			zap.String("store", store), zap.Error(reason))
	}
}
