package cache

import (
	"strconv"
	"time"

	"github.com/tidwall/gjson"
)

// ttlField holds the TTL in milliseconds that a record was stored with, where
// its source or its own expires_at capped that. The remaining TTL alone does
// not show whether a record is near its end or had a short TTL to begin with.
const ttlField = "_ttl"

// readTTL reads that TTL in the text of a JSON object.
func readTTL(text string) time.Duration {
	value := topField(text, ttlField)
	if value.Type != gjson.Number || value.Num < 1 || value.Num > float64((1<<63-1)/time.Millisecond) {
		return 0
	}
	return time.Duration(value.Num) * time.Millisecond
}

// withTTL returns the record with the TTL that it is stored with. It must have
// no such field yet.
func (r *Record) withTTL(ttl time.Duration) *Record {
	stamped := &Record{
		text:  withField(r.text, ttlField, strconv.FormatInt(ttl.Milliseconds(), 10)),
		state: r.state, status: r.status, expires: r.expires, origin: r.origin, sourceID: r.sourceID, tags: r.tags, ttl: ttl,
	}
	stamped.takeMemo(r)
	return stamped
}
