// Durations and their quantiles.

package cache

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

const (
	// histogram buckets: 8 per doubling, from 1µs
	bucketsPerDoubling = 8
	doublings          = 26 // up to over a minute
	bucketCount        = bucketsPerDoubling * doublings
	// histogramAge is the shortest time that a duration is counted for.
	histogramAge = time.Minute
)

// Histogram keeps the durations of the last one to two minutes, and all of them
// by the buckets of [Durations]. Observe takes no lock. A quantile is never too
// small, and too large by at most an eighth or a microsecond, whichever is more;
// the largest is four minutes. The zero value is ready to use.
type Histogram struct {
	all     Durations
	started atomic.Int64 // of the current generation, as clock.Of
	current atomic.Uint32
	buckets [2][bucketCount]atomic.Uint64
}

// Observe adds a duration; see [Durations.Observe].
func (h *Histogram) Observe(ctx context.Context, d time.Duration) {
	h.all.Observe(ctx, d)
	h.rotate(time.Now())
	h.buckets[h.current.Load()&1][bucketOf(d)].Add(1)
}

// rotate begins a new generation when the current one is over and drops the one
// before it. It drops both where nothing was measured for longer.
func (h *Histogram) rotate(now time.Time) {
	started, at := h.started.Load(), clock.Of(now)
	age := at - time.Duration(started)
	if age < histogramAge || !h.started.CompareAndSwap(started, int64(at)) {
		return
	}
	next := h.current.Load() + 1
	h.clear(next)
	if age > 2*histogramAge {
		h.clear(next + 1)
	}
	h.current.Store(next)
}

func (h *Histogram) clear(generation uint32) {
	for i := range h.buckets[generation&1] {
		h.buckets[generation&1][i].Store(0)
	}
}

// Count is how many durations were ever added.
func (h *Histogram) Count() uint64 {
	all := h.all.Counts()
	return all.Count()
}

// All has the durations that were ever added.
func (h *Histogram) All() DurationCounts { return h.all.Counts() }

// Recent returns how many durations were added in the last one to two minutes.
func (h *Histogram) Recent() (total uint64) {
	h.rotate(time.Now())
	for i := range bucketCount {
		total += h.buckets[0][i].Load() + h.buckets[1][i].Load()
	}
	return total
}

// Quantiles estimates quantiles (0 to 1, in ascending order) over the last
// one to two minutes; they are 0 where nothing was added.
func (h *Histogram) Quantiles(quantiles ...float64) []time.Duration {
	h.rotate(time.Now())
	var counts [bucketCount]uint64
	var total uint64
	for i := range counts {
		counts[i] = h.buckets[0][i].Load() + h.buckets[1][i].Load()
		total += counts[i]
	}
	values := make([]time.Duration, len(quantiles))
	if total == 0 {
		return values
	}
	bucket, seen := 0, counts[0]
	for i, q := range quantiles {
		for rank := min(total-1, uint64(q*float64(total))); seen <= rank; {
			bucket++
			seen += counts[bucket]
		}
		values[i] = bucketTop(bucket)
	}
	return values
}

// bucketOf returns the bucket of a duration. It splits each doubling of a
// microsecond into equal parts.
func bucketOf(d time.Duration) int {
	us := uint64(max(0, d) / time.Microsecond)
	// durations below bucketsPerDoubling microseconds have a bucket per microsecond
	if us < bucketsPerDoubling {
		return int(us)
	}
	shift := bits.Len64(us) - bits.Len64(bucketsPerDoubling)
	return min(bucketCount-1, shift*bucketsPerDoubling+int(us>>shift))
}

func bucketTop(bucket int) time.Duration {
	if bucket < bucketsPerDoubling {
		return time.Duration(bucket+1) * time.Microsecond
	}
	shift := bucket/bucketsPerDoubling - 1
	return time.Duration((bucketsPerDoubling+bucket%bucketsPerDoubling+1)<<shift) * time.Microsecond
}
