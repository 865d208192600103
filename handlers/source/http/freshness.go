// How long an answer may be kept (RFC 9111).

package httpsource

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// cacheLimits reads how long an answer may be kept: at most maxTTL, or without
// limit if that is 0, or not at all with noStore.
func cacheLimits(h http.Header) (maxTTL time.Duration, noStore bool) {
	maxAge, sharedMaxAge := noAge, noAge
	for _, line := range h.Values("Cache-Control") {
		for line != "" {
			var directive string
			directive, line = cutUnquoted(line)
			name, value, _ := strings.Cut(directive, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "no-store", "no-cache":
				return 0, true
			case "max-age":
				maxAge = min(maxAge, ageOf(value))
			case "s-maxage":
				sharedMaxAge = min(sharedMaxAge, ageOf(value))
			}
		}
	}
	limit := sharedMaxAge
	if limit == noAge {
		limit = maxAge
	}
	if limit == noAge {
		return 0, false
	}
	if age := h.Get("Age"); age != "" {
		limit -= ageOf(age)
	}
	return max(0, limit), limit <= 0
}

const (
	// longestAge is the value that longer ages are replaced by (section 1.2.2).
	longestAge = (1 << 31) * time.Second
	noAge      = longestAge + time.Second
)

// ageOf reads a number of seconds. An invalid number is 0, so that the answer
// is stale (section 4.2.1).
func ageOf(value string) time.Duration {
	value = strings.Trim(value, " \t\"")
	seconds, err := strconv.ParseUint(value, 10, 31)
	switch {
	case err == nil:
		return time.Duration(seconds) * time.Second
	case value != "" && strings.Trim(value, "0123456789") == "":
		return longestAge
	}
	return 0
}

// cutUnquoted cuts a list at its first comma that is not inside quotes.
func cutUnquoted(s string) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == ',':
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
