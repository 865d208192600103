package command

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func TestRatesAreOfASecond(t *testing.T) {
	t.Parallel()
	at := func(second int, lookups, hits, errors, requests uint64) *taken {
		return &taken{at: time.Unix(int64(second), 0), Stats: wire.Stats{
			TotalRequests: lookups, Hits: hits,
			Families: map[string]cache.Counts{"session": {Errors: errors}},
			Sources:  map[string]cache.SourceCounts{"http": {Requests: requests}},
		}}
	}
	for want, times := range map[string][2]*taken{
		"a second: 50.0 lookups, 40.0 hits, 0.5 errors, 10.0 requests to sources": {at(0, 100, 50, 1, 5), at(2, 200, 130, 2, 25)},
		"a second: 0.0 lookups, 0.0 hits, 0.0 errors, 0.0 requests to sources":    {at(0, 100, 50, 1, 5), at(2, 100, 50, 1, 5)},
		"a second: 10.0 lookups, 5.0 hits, 0.0 errors, 1.0 requests to sources":   {at(0, 100, 50, 1, 5), at(1, 10, 5, 0, 1)},
	} {
		require.Equal(t, want, ratesSince(times[0], times[1]))
	}
}
