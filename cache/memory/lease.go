package memory

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// leases are the rights to fill keys. They are kept apart from the records,
// because most keys that are being filled have no record yet.
type leases struct {
	mu      sync.Mutex
	byKey   map[string]lease
	issued  uint64 // each lease has a number of its own as its token
	pruneAt int    // the number of leases at which expired ones are searched for
}

// lease is held while it has a token. Without a token, it says how the last
// load ended.
type lease struct {
	token   string
	ended   cache.Ended
	expires time.Time
}

func (l lease) heldAt(now time.Time) bool { return l.token != "" && now.Before(l.expires) }

// minPrune keeps a small map from being searched too often.
const minPrune = 64

// take returns the token of the key's lease, or "" if the lease is held. A
// caller that has waited for it gets how the last load ended instead, where
// that is known.
func (l *leases) take(key string, ttl time.Duration, waited bool) (token string, ended *cache.Ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	switch last := l.byKey[key]; {
	case last.heldAt(now):
		return "", nil
	case waited && now.Before(last.expires):
		return "", &last.ended
	}
	l.prune(now)
	l.issued++
	token = strconv.FormatUint(l.issued, 36)
	l.byKey[key] = lease{token: token, expires: now.Add(ttl)}
	return token, nil
}

// prune drops expired leases each time the number of leases has doubled. So at
// most half of them are expired, at a small cost per call.
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

// use ends the key's lease if the token holds it, and reports whether it did.
func (l *leases) use(key, token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.byKey[key]
	if token == "" || held.token != token {
		return false
	}
	delete(l.byKey, key)
	return held.heldAt(time.Now())
}

// abandon ends the key's lease if the token holds it, and notes how its load
// ended.
func (l *leases) abandon(key, token string, ended cache.Ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if token == "" || l.byKey[key].token != token {
		return
	}
	ended.Failure = ended.Failure[:min(len(ended.Failure), cache.MaxFailure)]
	l.byKey[key] = lease{ended: ended, expires: time.Now().Add(cache.EndedFor)}
}

// end ends the key's lease, of any token.
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

// held reports whether the key's lease is held.
func (l *leases) held(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byKey[key].heldAt(time.Now())
}
