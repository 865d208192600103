// Durations by bucket, as Prometheus has them, since the process started.

package cache

import (
	"context"
	"sort"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// durationBounds are the upper bounds of the buckets of [Durations]. Answers from
// the memory of this process, which take less than a microsecond, are in the first.
var durationBounds = [...]time.Duration{
	10 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// durationBuckets counts one more bucket, for durations above all bounds.
const durationBuckets = len(durationBounds) + 1

// Durations counts durations by bucket. Observe takes no lock. The zero value is
// ready to use.
type Durations struct {
	buckets   [durationBuckets]atomic.Uint64
	sum       atomic.Int64
	exemplars [durationBuckets]atomic.Pointer[Exemplar]
}

// Exemplar is a duration that was measured in a trace.
type Exemplar struct {
	TraceID string
	Value   time.Duration
	At      time.Time
}

// DurationCounts are the durations until now. Buckets[i] counts those that are
// in no earlier bucket and not above Bounds[i]; the last one has no bound.
type DurationCounts struct {
	Bounds  []time.Duration
	Buckets []uint64
	Sum     time.Duration
	// Exemplars are the latest of each bucket that were measured in a sampled
	// trace; nil where there is none.
	Exemplars []*Exemplar
}

// Count is the number of durations.
func (d *DurationCounts) Count() (total uint64) {
	for _, n := range d.Buckets {
		total += n
	}
	return total
}

// Observe adds a duration. If ctx belongs to a sampled trace, the duration becomes
// the exemplar of its bucket.
func (d *Durations) Observe(ctx context.Context, took time.Duration) {
	took = max(0, took)
	bucket := sort.Search(len(durationBounds), func(i int) bool { return took <= durationBounds[i] })
	d.buckets[bucket].Add(1)
	d.sum.Add(int64(took))
	if traced := trace.SpanContextFromContext(ctx); traced.IsSampled() {
		d.exemplars[bucket].Store(&Exemplar{TraceID: traced.TraceID().String(), Value: took, At: time.Now()})
	}
}

// Counts reads the durations.
func (d *Durations) Counts() DurationCounts {
	counts := DurationCounts{
		Bounds: durationBounds[:], Buckets: make([]uint64, durationBuckets),
		Exemplars: make([]*Exemplar, durationBuckets), Sum: time.Duration(d.sum.Load()),
	}
	for i := range counts.Buckets {
		counts.Buckets[i] = d.buckets[i].Load()
		counts.Exemplars[i] = d.exemplars[i].Load()
	}
	return counts
}
