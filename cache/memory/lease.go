package memory

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// leases are the rights to fill keys, apart from the records: most keys that
// are being filled have none yet.
type leases struct {
	mu      sync.Mutex
	byKey   map[string]lease
	issued  uint64 // each lease has a number of its own as its token
	pruneAt int    // number of leases at which to look for expired ones
}

type lease struct {
	token   string
	expires time.Time
}

// minPrune keeps a small map from being searched all the time.
const minPrune = 64

// take gives the key's lease, or "" where somebody holds it.
func (l *leases) take(key string, ttl time.Duration) (token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if held, ok := l.byKey[key]; ok && now.Before(held.expires) {
		return ""
	}
	l.prune(now)
	l.issued++
	token = strconv.FormatUint(l.issued, 36)
	l.byKey[key] = lease{token: token, expires: now.Add(ttl)}
	return token
}

// prune drops the leases that nobody ended, each time their number has
// doubled: so at least half of what is kept is held, at a cost that is small
// when spread over the calls.
func (l *leases) prune(now time.Time) {
	if l.byKey == nil {
		l.byKey, l.pruneAt = make(map[string]lease), minPrune
	}
	if len(l.byKey) < l.pruneAt {
		return
	}
	for key, held := range l.byKey {
		if !now.Before(held.expires) {
			delete(l.byKey, key)
		}
	}
	l.pruneAt = max(minPrune, 2*len(l.byKey))
}

// use ends the key's lease if it is the token's, and tells whether it was.
func (l *leases) use(key, token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, ok := l.byKey[key]
	if !ok || held.token != token {
		return false
	}
	delete(l.byKey, key)
	return time.Now().Before(held.expires)
}

// end ends the key's lease, whoever holds it.
func (l *leases) end(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byKey, key)
}

// endPrefix is end for every key with the prefix.
func (l *leases) endPrefix(prefix string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.byKey {
		if strings.HasPrefix(key, prefix) {
			delete(l.byKey, key)
		}
	}
}

// held tells whether somebody has the key's lease.
func (l *leases) held(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, ok := l.byKey[key]
	return ok && time.Now().Before(held.expires)
}
