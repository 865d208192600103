package near

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/maypok86/otter/v2"
	"github.com/stretchr/testify/require"
)

func tableOf(maxWeight int64) (t *table[record, *record], evicted *atomic.Int64) {
	evicted = new(atomic.Int64)
	return newTable(maphash.MakeSeed(), maxWeight, func(_ *record, byPressure bool) {
		if byPressure {
			evicted.Add(1)
		}
	}), evicted
}

func putRecord(t *table[record, *record], key, text string) {
	t.update(t.hash(key), key, func(*record) *record {
		r := &record{text: text, key: key}
		r.slot.until.Store(1 << 62)
		return r
	})
}

// All that is done to a table is done to a map as well.
func TestTableHasWhatAMapHas(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]int{"few": 5, "some": 300, "many": 20_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, evicted := tableOf(1 << 40)
			want := make(map[string]string)
			random := rand.New(rand.NewPCG(1, uint64(keys)))
			for range 10 * keys {
				key := fmt.Sprint("key", random.IntN(keys))
				switch random.IntN(3) {
				case 0:
					table.drop(table.hash(key), key)
					delete(want, key)
				default:
					text := fmt.Sprint(random.IntN(10))
					putRecord(table, key, text)
					want[key] = text
				}
			}
			weight := int64(0)
			for i := range keys {
				key := fmt.Sprint("key", i)
				e := table.get(table.hash(key), key)
				text, ok := want[key]
				require.Equal(t, ok, e != nil, key)
				if ok {
					require.Equal(t, text, e.text)
					weight += int64(e.Memory() + slotSize)
				}
			}
			require.Equal(t, int64(len(want)), table.count.Load())
			require.Equal(t, weight, table.weight.Load())
			require.Zero(t, evicted.Load())
			for key := range want {
				table.drop(table.hash(key), key)
			}
			require.Zero(t, table.count.Load())
			require.Zero(t, table.weight.Load())
		})
	}
}

func TestTableStaysWithinItsWeight(t *testing.T) {
	t.Parallel()
	for _, most := range []int64{1 << 10, 1 << 16, 64 << 20} {
		table, evicted := tableOf(most)
		for i := range 2000 {
			key := fmt.Sprint("key", i)
			table.update(table.hash(key), key, func(*record) *record { return &record{key: key, size: int(most) / 200} })
			require.LessOrEqual(t, table.weight.Load(), most)
		}
		require.Positive(t, evicted.Load())
		require.Greater(t, table.weight.Load(), most/3)
		kept := table.count.Load()
		table.update(table.hash("huge"), "huge", func(*record) *record { return &record{key: "huge", size: int(most)} })
		require.Nil(t, table.get(table.hash("huge"), "huge"), "an entry that is larger than all that may be kept is not kept")
		require.Equal(t, kept, table.count.Load(), "and drives no other one out")
	}
}

func TestEntryThatGrowsIsWeighedAgain(t *testing.T) {
	t.Parallel()
	table, _ := tableOf(1 << 20)
	putRecord(table, "a", "text")
	e := table.get(table.hash("a"), "a")
	before := table.weight.Load()
	e.size = 1000
	table.used(e)
	require.Equal(t, before+1000, table.weight.Load())
	table.drop(table.hash("a"), "a")
	require.Zero(t, table.weight.Load())
	e.size = 5000
	table.used(e)
	require.Zero(t, table.weight.Load(), "what has left the table is not weighed")
}

func TestWhatIsReadOftenSurvivesAScan(t *testing.T) {
	t.Parallel()
	const most = 5000
	hot := func(table *table[record, *record]) (hits int) {
		for i := range 1000 {
			key := fmt.Sprint("hot", i)
			if e := table.get(table.hash(key), key); e != nil {
				table.used(e)
				hits++
			}
		}
		return hits
	}
	table, _ := tableOf(most * (100 + 8 + slotSize))
	for i := range 1000 {
		putRecord(table, fmt.Sprint("hot", i), "")
	}
	for range mostUses {
		require.Equal(t, 1000, hot(table))
	}
	for i := range 2 * most { // twice as much as the table holds, each read once
		putRecord(table, fmt.Sprint("cold", i), "")
	}
	require.Greater(t, hot(table), 900)
	for i := range 20 * most { // while the others are still read
		if putRecord(table, fmt.Sprint("colder", i), ""); i%(most/2) == 0 {
			hot(table)
		}
	}
	require.Greater(t, hot(table), 900)
}

// The hit rate is that of otter, whose W-TinyLFU is near the best there is.
func TestHitRateIsThatOfOtter(t *testing.T) {
	t.Parallel()
	const entries, reads = 2000, 200_000
	for name, next := range map[string]func(*rand.Rand, *rand.Zipf, int) uint64{
		"zipf": func(_ *rand.Rand, z *rand.Zipf, _ int) uint64 { return z.Uint64() },
		"zipf with scans": func(_ *rand.Rand, z *rand.Zipf, i int) uint64 {
			if i/10_000%2 == 1 {
				return uint64(1_000_000 + i)
			}
			return z.Uint64()
		},
		"zipf that moves": func(_ *rand.Rand, z *rand.Zipf, i int) uint64 { return z.Uint64() + uint64(i/50) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, _ := tableOf(entries * (100 + 8 + slotSize))
			theirs := otter.Must(&otter.Options[string, int]{MaximumSize: entries, Executor: func(f func()) { f() }})
			defer theirs.StopAllGoroutines()
			random := rand.New(rand.NewPCG(1, 2))
			zipf := rand.NewZipf(random, 1.01, 10, 100_000)
			ours, other := 0, 0
			for i := range reads {
				key := fmt.Sprintf("%08d", next(random, zipf, i))
				if e := table.get(table.hash(key), key); e != nil {
					table.used(e)
					ours++
				} else {
					putRecord(table, key, "")
				}
				if _, ok := theirs.GetIfPresent(key); ok {
					other++
				} else {
					theirs.Set(key, i)
				}
			}
			t.Logf("%.3f, otter %.3f", float64(ours)/reads, float64(other)/reads)
			require.Greater(t, float64(ours), 0.95*float64(other))
		})
	}
}

// Readers and writers of the same keys, while the table grows and evicts.
func TestTableIsUsedConcurrently(t *testing.T) {
	t.Parallel()
	table, _ := tableOf(200_000)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 20_000 {
				key := fmt.Sprint("key", random.IntN(3000))
				switch random.IntN(4) {
				case 0:
					putRecord(table, key, key)
				case 1:
					table.drop(table.hash(key), key)
				default:
					if e := table.get(table.hash(key), key); e != nil {
						if e.text != key {
							t.Errorf("%s has the text of %s", key, e.text)
						}
						table.used(e)
					}
				}
			}
		})
	}
	group.Wait()
	weight, count := int64(0), int64(0)
	for i := range 3000 {
		key := fmt.Sprint("key", i)
		if e := table.get(table.hash(key), key); e != nil {
			weight, count = weight+int64(e.Slot().weight.Load()), count+1
		}
	}
	require.Equal(t, weight, table.weight.Load())
	require.Equal(t, count, table.count.Load())
}

// hot is an entry that is used each time anything looks at it.
type hot struct {
	slot Slot
	key  string
}

func (h *hot) Key() string { return h.key }
func (h *hot) Memory() int { return 100 }
func (h *hot) Slot() *Slot {
	h.slot.uses.Store(mostUses)
	return &h.slot
}

// Eviction ends, however fast the entries are used meanwhile.
func TestEvictionEndsWhereAllEntriesAreUsedWithoutPause(t *testing.T) {
	t.Parallel()
	table := newTable(maphash.MakeSeed(), 1<<10, func(*hot, bool) {})
	for i := range 100 {
		key := fmt.Sprint("key", i)
		table.update(table.hash(key), key, func(*hot) *hot {
			h := &hot{key: key}
			h.slot.until.Store(1 << 62)
			return h
		})
	}
	require.LessOrEqual(t, table.weight.Load(), int64(1<<10))
	require.Positive(t, table.count.Load())
}
