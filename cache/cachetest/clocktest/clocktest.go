// Package clocktest makes times as a process sees them whose wall clock is set.
package clocktest

import (
	"testing"
	"time"
	"unsafe"
)

// SetBack returns a time of [time.Now] as it is after the wall clock was set back. The
// monotonic clock is not changed.
func SetBack(t testing.TB, now time.Time, by time.Duration) time.Time {
	t.Helper()
	// with a monotonic reading, the seconds begin at the 30th bit of the first word
	set := now
	*(*uint64)(unsafe.Pointer(&set)) -= uint64(by/time.Second) << 30
	if set.Sub(now) != 0 || set.Round(0).Sub(now.Round(0)) != -by.Truncate(time.Second) {
		t.Fatalf("setting the wall clock back by %s: this version of Go has another layout of times", by)
	}
	return set
}
