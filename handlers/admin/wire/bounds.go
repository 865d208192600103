// The limits of the endpoints, so that the command line can check them as well.

package wire

import "fmt"

// NoFamily is the error of a record of no family without a TTL.
const NoFamily = "key is of no family, so it needs a ttl, like 1h"

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

// Check returns an error if a bench is out of bounds. The error begins with the field.
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

// CheckConcurrency returns an error if a warm-up cannot have this concurrency.
func CheckConcurrency(n int) error {
	if n < 1 || n > MaxWarmConcurrency {
		return fmt.Errorf("concurrency is not right: want 1 to %d", MaxWarmConcurrency)
	}
	return nil
}

// CheckRate returns an error if a warm-up cannot have this rate.
func CheckRate(perSecond float64) error {
	if !(perSecond > 0) { // NaN neither
		return fmt.Errorf("rate is not right: want a number of identities per second above 0")
	}
	return nil
}
