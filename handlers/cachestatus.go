// What each lookup tells of itself in the response (RFC 9211).

package handlers

import (
	"net/http"
	"strconv"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// addCacheStatus adds the lookup's member to the Cache-Status field.
func (l *Lookup) addCacheStatus(h http.Header, f *findings, directive string, r *cache.Result) {
	if !l.policy.CacheStatus {
		return
	}
	b := make([]byte, 0, 64)
	b = append(b, directive...)
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
		}
	}
	if detail != "" {
		b = append(b, "; detail="...)
		b = append(b, detail...)
	}
	lines := h["Cache-Status"]
	if lines == nil {
		lines = f.statuses[:0]
	}
	h["Cache-Status"] = append(lines, string(b))
}
