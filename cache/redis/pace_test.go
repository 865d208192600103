package redis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestATrackerRestsWhileReportsAreFrequent(t *testing.T) {
	t.Parallel()
	var p pace
	now, reports := time.Unix(1_700_000_000, 0), 0
	// receive reads n reports, one at a time, and returns the rest before the next
	receive := func(n int, apart time.Duration) (rest time.Duration) {
		for range n {
			now = now.Add(apart)
			reports++
			rest = p.rest(now, reports)
		}
		return rest
	}
	require.Zero(t, p.rest(now, 0))
	for _, c := range []struct {
		name  string
		n     int
		apart time.Duration
		want  time.Duration
	}{
		{"one", 1, time.Second, 0},
		{"a thousand a second", 1000, time.Millisecond, 0},
		{"the first of many", 3, 50 * time.Microsecond, 0},
		{"many", 1000, 50 * time.Microsecond, paceRest},
		{"one after a pause", 1, time.Second, 0},
		{"a burst", 19, 0, 0},
		{"nothing for long", 1, time.Hour, 0},
	} {
		require.Equal(t, c.want, receive(c.n, c.apart), c.name)
	}
}

// A rest makes each read return many reports. That must not end the rests.
func TestATrackerThatRestsGoesOnWhileReportsAreFrequent(t *testing.T) {
	t.Parallel()
	var p pace
	now, reports, reads := time.Unix(1_700_000_000, 0), 0, 0
	p.rest(now, 0)
	const rate = 20_000 // a second
	for end := now.Add(time.Second); now.Before(end); reads++ {
		passed := max(50*time.Microsecond, p.rest(now, reports))
		now = now.Add(passed)
		reports += int(passed * rate / time.Second)
	}
	require.InDelta(t, rate, reports, rate/10)
	require.Less(t, reads, rate/8)
}
