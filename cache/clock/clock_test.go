package clock_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/clocktest"
	"github.com/filewallball/caddy-filewallball/cache/clock"
)

func TestTimePassesIfTheWallClockIsSetBack(t *testing.T) {
	t.Parallel()
	before := clock.Now()
	require.Greater(t, before, time.Hour, "zero is long ago")
	now := time.Now()
	require.GreaterOrEqual(t, clock.Of(now), before)
	require.Equal(t, clock.Of(now), clock.Of(clocktest.SetBack(t, now, time.Hour)))
	require.Equal(t, clock.Of(now)+time.Minute, clock.Of(clocktest.SetBack(t, now, time.Hour).Add(time.Minute)))
}
