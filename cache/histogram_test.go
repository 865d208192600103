package cache

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/clocktest"
	"github.com/filewallball/caddy-filewallball/cache/clock"
)

func TestQuantilesAreNearTheExactOnes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"around a millisecond": func() time.Duration { return time.Duration(random.ExpFloat64() * 1e6) },
		"over all magnitudes":  func() time.Duration { return time.Duration(1 << random.IntN(36)) },
		"all the same":         func() time.Duration { return 5 * time.Second },
		"below a microsecond":  func() time.Duration { return time.Duration(random.IntN(1000)) },
		"two apart": func() time.Duration {
			return time.Duration(1+random.IntN(2)*999) * time.Millisecond
		},
	} {
		var h Histogram
		var all []time.Duration
		for range 10_000 {
			d := draw()
			all = append(all, d)
			h.Observe(t.Context(), d)
		}
		slices.Sort(all)
		quantiles := []float64{0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1}
		for i, got := range h.Quantiles(quantiles...) {
			exact := all[min(len(all)-1, int(quantiles[i]*float64(len(all))))]
			require.GreaterOrEqual(t, got, exact, "%s: p%g", name, 100*quantiles[i])
			require.LessOrEqual(t, got, exact+exact/8+time.Microsecond, "%s: p%g", name, 100*quantiles[i])
		}
	}
}

func TestQuantilesOfFew(t *testing.T) {
	t.Parallel()
	var h Histogram
	require.Equal(t, []time.Duration{0, 0}, h.Quantiles(0.5, 1))
	h.Observe(t.Context(), 3*time.Microsecond)
	require.Equal(t, []time.Duration{4 * time.Microsecond, 4 * time.Microsecond, 4 * time.Microsecond}, h.Quantiles(0, 0.5, 1))
	h.Observe(t.Context(), -time.Second) // a clock that was set back
	h.Observe(t.Context(), 1000*time.Hour)
	got := h.Quantiles(0, 1)
	require.Equal(t, time.Microsecond, got[0])
	require.Greater(t, got[1], 4*time.Minute)
	require.EqualValues(t, 3, h.Count())
	require.Equal(t, 1000*time.Hour+3*time.Microsecond, h.All().Sum)
}

func TestEveryBucketEndsWhereTheNextBegins(t *testing.T) {
	t.Parallel()
	for bucket := range bucketCount - 1 {
		top := bucketTop(bucket)
		require.Equal(t, bucket, bucketOf(top-1))
		require.Equal(t, bucket+1, bucketOf(top))
	}
}

func TestOldDurationsAreDropped(t *testing.T) {
	t.Parallel()
	var h Histogram
	start := time.Now()
	h.started.Store(int64(clock.Of(start)))
	h.Observe(t.Context(), time.Second)
	median := func(at time.Time) time.Duration {
		h.rotate(at)
		return h.Quantiles(0.5)[0]
	}
	require.NotZero(t, median(start.Add(histogramAge-1)))
	require.NotZero(t, median(start.Add(histogramAge)), "one generation back")
	require.Zero(t, median(start.Add(2*histogramAge)), "two generations back")

	h.Observe(t.Context(), time.Second)
	start = start.Add(2 * histogramAge)
	require.NotZero(t, median(start))
	require.Zero(t, median(start.Add(2*histogramAge+1)), "after a long rest")
	require.EqualValues(t, 2, h.Count(), "count and sum are of all time")
}

func TestOldDurationsAreDroppedAlsoIfTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	var h Histogram
	now := time.Now()
	h.started.Store(int64(clock.Of(now)))
	h.Observe(t.Context(), time.Second)
	set := clocktest.SetBack(t, now, time.Hour)
	h.rotate(set.Add(histogramAge))
	require.NotZero(t, h.Quantiles(0.5)[0])
	h.rotate(set.Add(2*histogramAge + 1))
	require.Zero(t, h.Quantiles(0.5)[0])
}

func TestHistogramsAreWrittenAtOnce(t *testing.T) {
	t.Parallel()
	var h Histogram
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1000 {
				h.Observe(t.Context(), time.Millisecond)
				h.Quantiles(0.5)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 8000, h.Count())
	require.Equal(t, 8*time.Second, h.All().Sum)
}
