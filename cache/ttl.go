package cache

import (
	"math"
	"strconv"
	"time"

	"github.com/tidwall/gjson"
)

// ttlField holds the TTL in milliseconds that a record was stored with, where its
// source or its own expires_at capped it. The remaining TTL alone does not show
// whether a record is near its end or was stored for a short time.
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
	stamped := r.withText(withField(r.Text(), ttlField, strconv.FormatInt(ttl.Milliseconds(), 10)))
	stamped.ttl = milliseconds(ttl)
	return stamped
}

// milliseconds is a TTL in milliseconds, or the longest there is, 49 days.
func milliseconds(ttl time.Duration) uint32 {
	return uint32(min(max(ttl.Milliseconds(), 0), math.MaxUint32))
}
