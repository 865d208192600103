// What the endpoints take, so that the command line can refuse the rest by itself.

package wire

import "fmt"

// NoFamily is what a record of no family is refused with where its TTL is missing.
const NoFamily = "key is of no family: say how long it lives with a ttl like 1h"

// The bounds of a bench and of a warm-up. MinBenchSize is the size of an empty
// record of a bench, in bytes.
const (
	MaxBenchCount       = 100_000
	MaxBenchBatch       = 1000
	MaxBenchConcurrency = 64
	MinBenchSize        = 8
	MaxBenchBytes       = 256 << 20
	MaxBatchBytes       = MaxBenchBytes / 8
	MaxWarmConcurrency  = 64
)

// Check is an error where a bench is out of bounds. It begins with the field.
func (b BenchRequest) Check(maxValueSize int) error {
	for _, field := range []struct {
		name            string
		value, from, to int
	}{
		{"count", b.Count, 1, MaxBenchCount},
		{"size", b.Size, MinBenchSize, maxValueSize},
		{"batch", b.Batch, 1, MaxBenchBatch},
		{"concurrency", b.Concurrency, 1, MaxBenchConcurrency},
	} {
		if field.value < field.from || field.value > field.to {
			return fmt.Errorf("%s is not right: want %d to %d", field.name, field.from, field.to)
		}
	}
	switch {
	case b.Count*b.Size > MaxBenchBytes:
		return fmt.Errorf("count times size is too much: want at most %d bytes in all", MaxBenchBytes)
	case b.Batch*b.Size > MaxBatchBytes:
		return fmt.Errorf("batch times size is too much: want at most %d bytes in a batch", MaxBatchBytes)
	}
	return nil
}

// CheckConcurrency is an error where a warm-up cannot load so many at a time.
func CheckConcurrency(n int) error {
	if n < 1 || n > MaxWarmConcurrency {
		return fmt.Errorf("concurrency is not right: want 1 to %d", MaxWarmConcurrency)
	}
	return nil
}

// CheckRate is an error where a warm-up cannot be that fast.
func CheckRate(perSecond float64) error {
	if !(perSecond > 0) { // NaN neither
		return fmt.Errorf("rate is not right: want how many in a second, above 0")
	}
	return nil
}
