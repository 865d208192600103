package cache_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// A user may have the right to some commands alone: then some of the writes
// succeed all the time.
func TestRefusalsThatComeBackEndAfterAQuietMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var e cache.StoreErrors
		failing := func() bool { return e.Counts().States[cache.StoreWrite].Failing }
		refuse := func() bool {
			return e.Failed(cache.StoreFailure{Op: cache.StoreWrite, Reason: "noperm"}, "NOPERM no", "a:1", cache.RefusedCommand)
		}
		require.True(t, refuse())
		time.Sleep(cache.StoreErrorsCalm)
		require.True(t, e.Worked(cache.StoreWrite), "the first time, it ends soon")
		require.False(t, failing())

		time.Sleep(5 * time.Second)
		require.True(t, refuse())
		for range 20 {
			time.Sleep(5 * time.Second)
			require.False(t, e.Worked(cache.StoreWrite))
			require.True(t, failing(), "it neither ends nor begins anew")
			require.False(t, refuse())
		}
		time.Sleep(cache.StoreErrorsPast)
		require.False(t, failing())
		require.True(t, e.Worked(cache.StoreWrite))

		time.Sleep(cache.StoreErrorsPast)
		require.True(t, refuse())
		time.Sleep(cache.StoreErrorsCalm)
		require.True(t, e.Worked(cache.StoreWrite), "after a quiet time, it ends soon again")
	})
}

func TestAnOutageThatComesBackEndsWithTheFirstAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var e cache.StoreErrors
		for range 3 {
			require.True(t, e.Failed(cache.StoreFailure{Op: cache.StoreRead, Reason: "connection"}, "refused", "a:1", cache.RefusedNothing))
			e.Failed(cache.StoreFailure{Op: cache.StoreRead, Reason: cache.StoreNotAsked}, "circuit breaker is open", "a:1", cache.RefusedNothing)
			require.Equal(t, "refused", e.Counts().Last)
			time.Sleep(cache.StoreErrorsCalm)
			require.Contains(t, e.Answered(), cache.StoreRead)
			e.Failed(cache.StoreFailure{Op: cache.StoreWrite, Reason: cache.StoreNotAsked}, "circuit breaker is open", "a:1", cache.RefusedNothing)
			require.Equal(t, "refused", e.Counts().Last, "the reason why it is open stays")
		}
	})
}
