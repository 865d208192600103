// Package clock measures time that passes, also where the wall clock is set. Its times
// are durations since long before the process began, so that zero is long ago.
package clock

import "time"

// start is when times begin.
var start = time.Now().Add(-24 * time.Hour)

// Of returns a time by the monotonic clock.
func Of(t time.Time) time.Duration { return t.Sub(start) }

// Now is [Of] for the current time.
func Now() time.Duration { return time.Since(start) }
