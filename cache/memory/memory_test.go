package memory_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
)

func TestMain(m *testing.M) {
	memory.RunChild()
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T) cache.Store { return open(t, memory.Options{}) })
}

func open(t testing.TB, options memory.Options) *memory.Store {
	t.Helper()
	store, err := memory.New(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func decode(t testing.TB, text string) *cache.Record {
	t.Helper()
	r, err := cache.Decode(text, math.MaxInt)
	require.NoError(t, err)
	return r
}

func TestNegativeSizesAreRefused(t *testing.T) {
	t.Parallel()
	for _, options := range []memory.Options{{MaxSize: -1}, {MaxValueSize: -1}} {
		_, err := memory.New(options)
		require.Error(t, err)
	}
}

func TestTheLargestRecordIsConfigurable(t *testing.T) {
	t.Parallel()
	store := open(t, memory.Options{MaxValueSize: 10})
	require.NoError(t, store.Set(t.Context(), "a", decode(t, `{"n":1234}`), time.Hour))
	require.ErrorIs(t, store.Set(t.Context(), "a", decode(t, `{"n":12345}`), time.Hour), cache.ErrInvalidRecord)
}

func TestPeekAllocatesNothing(t *testing.T) {
	store := open(t, memory.Options{})
	require.NoError(t, store.Set(t.Context(), "a", decode(t, `{"n":1}`), time.Hour))
	require.Zero(t, testing.AllocsPerRun(10_000, func() {
		if _, ok := store.Peek("a", time.Now()); !ok {
			t.Error("not found")
		}
		if _, ok := store.Peek("b", time.Now()); ok {
			t.Error("found")
		}
	}))
}

func TestTheStoreStaysWithinItsSize(t *testing.T) {
	t.Parallel()
	const maxSize = 1 << 20
	store := open(t, memory.Options{MaxSize: maxSize})
	value := decode(t, `{"a":"`+strings.Repeat("x", 2000)+`"}`)
	for i := range 5000 {
		require.NoError(t, store.Set(t.Context(), fmt.Sprintf("key:%d", i), value, time.Hour))
	}
	require.Eventually(t, func() bool {
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		return info.UsedMemory <= maxSize && info.Keys+info.EvictedKeys == 5000
	}, 10*time.Second, time.Millisecond)

	info, err := store.Info(t.Context())
	require.NoError(t, err)
	require.Greater(t, info.Keys, int64(300))
	require.LessOrEqual(t, info.Keys, int64(maxSize/2000))
	require.EqualValues(t, maxSize, info.MaxMemory)
	require.InDelta(t, 100*float64(info.UsedMemory)/maxSize, info.MemoryUsedPercent, 0.01)
}

func TestExpiredRecordsAreCounted(t *testing.T) {
	t.Parallel()
	store := open(t, memory.Options{})
	for i := range 10 {
		require.NoError(t, store.Set(t.Context(), fmt.Sprint(i), decode(t, `{}`), time.Millisecond))
	}
	require.Eventually(t, func() bool {
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		return info.ExpiredKeys == 10 && info.Keys == 0 && info.UsedMemory == 0
	}, 10*time.Second, 10*time.Millisecond)
}

func TestInfoReportsMemoryAsRedisDoes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		used int
		want string
	}{
		{1000, "1000B"},
		{1024, "1.00K"},
		{1 << 20, "1.00M"},
		{5<<20 + 1<<19, "5.50M"},
	} {
		store := open(t, memory.Options{MaxValueSize: math.MaxInt})
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		require.Equal(t, "0B", info.UsedMemoryHuman)
		require.Equal(t, "memory", info.Mode)
		require.Empty(t, info.Version)

		text := `{"a":"` + strings.Repeat("x", test.used-memory.EntryOverhead-len(`k{"a":""}`)) + `"}`
		require.NoError(t, store.Set(t.Context(), "k", decode(t, text), time.Hour))
		info, err = store.Info(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, test.used, info.UsedMemory)
		require.Equal(t, test.want, info.UsedMemoryHuman)
	}
}

// What the options call the size of an entry must be near what it takes.
func TestEntryOverheadIsAsMeasured(t *testing.T) {
	store := open(t, memory.Options{MaxSize: 1 << 30})
	const n = 50_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range n {
		require.NoError(t, store.Set(t.Context(), fmt.Sprintf("file:meta:%08d", i), decode(t, fmt.Sprintf(`{"size":%09d}`, 1e8+i)), time.Hour))
	}
	info, err := store.Info(t.Context()) // also does the upkeep that is due
	require.NoError(t, err)
	taken := heap() - before
	runtime.KeepAlive(store)
	t.Logf("%d bytes an entry, %d counted", taken/n, info.UsedMemory/n)
	require.InEpsilon(t, float64(info.UsedMemory), float64(taken), 0.3)
}

func TestCloseMayRaceWithAnything(t *testing.T) {
	t.Parallel()
	for range 20 {
		store, err := memory.New(memory.Options{MaxSize: 100_000})
		require.NoError(t, err)
		r := decode(t, `{"n":1}`)
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				for i := 0; ; i++ {
					key := fmt.Sprint(worker, i)
					if err := store.Set(t.Context(), key, r, time.Hour); err != nil {
						if !errors.Is(err, cache.ErrClosed) {
							t.Error(err)
						}
						return
					}
					store.Peek(key, time.Now())
				}
			})
		}
		group.Go(func() {
			for {
				if info, err := store.Info(t.Context()); err != nil || info.EvictedKeys > 0 {
					break
				}
			}
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		require.NoError(t, store.Close())
	}
}
