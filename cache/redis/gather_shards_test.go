package redis

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// Reads of records that are not there, however many, leave connections to others
// in every deployment.
func TestReadsNeverTakeAllConnections(t *testing.T) {
	for name, options := range map[string]func(*testing.T) Options{
		"one server": func(t *testing.T) Options { return at(redistest.Start(t)) },
		"cluster":    func(t *testing.T) Options { return Options{Addresses: redistest.StartCluster(t, 3, 0).Addrs()} },
		"cluster, reads from replicas": func(t *testing.T) Options {
			return Options{Addresses: redistest.StartCluster(t, 3, 1).Addrs(), ReadFrom: Replicas}
		},
		"Sentinel, reads from the nearest": func(t *testing.T) Options {
			o := sentinelOptions(redistest.StartSentinel(t))
			o.ReadFrom = Nearest
			return o
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.PoolSize = 4
			s := open(t, o)
			require.Eventually(t, func() bool { return get(s, "k") == nil }, patience, patience/1000)
			before := s.Pool().Waits
			var readers sync.WaitGroup
			for i := range 2000 {
				readers.Go(func() {
					entry, err := s.Get(t.Context(), fmt.Sprint("session:user:", i))
					assert.NoError(t, err)
					assert.Nil(t, entry.Record)
				})
			}
			readers.Wait()
			require.Equal(t, before, s.Pool().Waits, "reads that waited for a connection")
		})
	}
}
