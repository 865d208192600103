package memory

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAbandonedLeasesDoNotPileUp(t *testing.T) {
	t.Parallel()
	var l leases
	for i := range 10_000 {
		token, _ := l.take(fmt.Sprint("dead", i), time.Nanosecond, false)
		require.NotEmpty(t, token)
	}
	require.LessOrEqual(t, len(l.byKey), minPrune)

	for i := range 10_000 {
		token, _ := l.take(fmt.Sprint("live", i), time.Hour, false)
		require.NotEmpty(t, token)
	}
	require.GreaterOrEqual(t, len(l.byKey), 10_000, "the ones that are held stay")
}
