// The Cache-Status field (RFC 9211).

package lookup

import (
	"net/http"
	"strconv"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// addCacheStatus adds the lookup's member to the Cache-Status field.
func (l *Lookup) addCacheStatus(h http.Header, lines *statusLines, r *cache.Result) {
	if !l.policy.CacheStatus {
		return
	}
	b := make([]byte, 0, 64)
	b = append(b, l.kind.Directive...)
	detail := ""
	switch r.Outcome {
	case cache.OutcomeAbsent, cache.OutcomeDenied, cache.OutcomeStale, cache.OutcomeError:
		detail = string(r.Outcome)
	default:
		detail = r.From
	}
	switch {
	case r.Outcome == cache.OutcomeError:
		b = append(b, "; fwd=bypass"...)
	case r.Hit:
		b = append(b, "; hit"...)
		if r.TTL != cache.NoExpiry {
			b = append(b, "; ttl="...)
			b = strconv.AppendInt(b, int64(r.TTL/time.Second), 10)
		}
	default:
		b = append(b, "; fwd=miss"...)
		if r.Stored {
			b = append(b, "; stored"...)
		} else if r.NoStore != "" && detail == "" {
			detail = r.NoStore
		}
	}
	if detail != "" {
		b = append(b, "; detail="...)
		b = append(b, detail...)
	}
	lines.add(h, string(b))
}

// statusLines has room for the lines of Cache-Status of one request. Each place is used
// once, so that appending to one slice never changes another.
type statusLines struct {
	room [3]string
	used int
}

func (s *statusLines) add(h http.Header, line string) {
	lines := h["Cache-Status"]
	switch {
	case len(lines) == 0 && s.used == 0:
		lines = s.room[0:0:1]
	case len(lines) == 1 && s.used == 1:
		s.room[1] = lines[0]
		lines = s.room[1:2:3]
	}
	s.used++
	h["Cache-Status"] = append(lines, line)
}
