package memory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
)

// Many records are saved and read back, and a save holds up neither lookups nor
// revocations.
func TestManyRecordsAreSavedBesideLookups(t *testing.T) {
	records := 50_000
	if os.Getenv("FILEWALLBALL_SOAK") != "" {
		records = 1_000_000
	}
	options := memory.Options{File: filepath.Join(t.TempDir(), "records"), MaxSize: 1 << 30, SaveInterval: time.Hour}
	s := open(t, options)
	items := make([]cache.Item, 0, 1000)
	for i := range records {
		items = append(items, cache.Item{Key: key(i), Record: decode(t, fmt.Sprintf(`{"user_id":%d}`, i)), TTL: time.Hour})
		if len(items) == cap(items) {
			require.NoError(t, s.SetMany(t.Context(), items))
			items = items[:0]
		}
	}
	saved := make(chan time.Duration, 1)
	go func() {
		began := time.Now()
		s.Save()
		saved <- time.Since(began)
	}()
	var hits, drops []time.Duration
	dropped := 0
	for took := time.Duration(0); took == 0; {
		select {
		case took = <-saved:
			t.Logf("saved in %s", took)
		default:
			began := time.Now()
			_, ok := s.Peek(key(records-1), began)
			hits = append(hits, time.Since(began))
			require.True(t, ok)
			began = time.Now()
			_, err := s.Delete(t.Context(), key(dropped))
			drops = append(drops, time.Since(began))
			require.NoError(t, err)
			dropped++
		}
	}
	t.Logf("%d lookups and as many deletions meanwhile: 99%% of the lookups within %s, half of the deletions within %s",
		len(hits), quantile(hits, 0.99), quantile(drops, 0.5))
	require.Less(t, quantile(hits, 0.99), 10*time.Millisecond)
	require.NoError(t, s.FileStatus().Err)

	began := time.Now()
	crashed := crash(t, options.File)
	crashed.MaxSize = options.MaxSize
	after := open(t, crashed)
	require.NoError(t, after.Ping(t.Context()))
	t.Logf("copied and read in %s", time.Since(began))
	for i := range records {
		_, ok := after.Peek(key(i), time.Now())
		require.Equal(t, i >= dropped, ok, "%d of %d dropped", i, dropped)
	}
}

func key(i int) string { return fmt.Sprintf("session:user:%032d", i) }

func quantile(took []time.Duration, q float64) time.Duration {
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))]
}
