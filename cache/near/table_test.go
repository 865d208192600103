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
	seed := maphash.MakeSeed()
	return hashedTable(func(key string) uint64 { return maphash.String(seed, key) }, maxWeight)
}

func hashedTable(hash func(key string) uint64, maxWeight int64) (t *table[record, *record], evicted *atomic.Int64) {
	evicted = new(atomic.Int64)
	return newTable(hash, maxWeight, func(_ *record, byPressure bool) {
		if byPressure {
			evicted.Add(1)
		}
	}), evicted
}

func putRecord(t *table[record, *record], key, text string) { putSized(t, key, text, 0) }

func putSized(t *table[record, *record], key, text string, size int) {
	t.update(t.hash(key), key, func(*record) *record {
		r := &record{text: text, key: key, size: size}
		r.slot.until.Store(1 << 62)
		return r
	})
}

// Each operation on the table is repeated on a map, and both must have the same keys.
func TestTableBehavesLikeAMap(t *testing.T) {
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
	table.used(table.hash(e.key), e)
	require.Equal(t, before+1000, table.weight.Load())
	table.drop(table.hash("a"), "a")
	require.Zero(t, table.weight.Load())
	e.size = 5000
	table.used(table.hash(e.key), e)
	require.Zero(t, table.weight.Load(), "what has left the table is not weighed")
}

func TestWhatIsReadOftenSurvivesAScan(t *testing.T) {
	t.Parallel()
	const most = 5000
	hot := func(table *table[record, *record]) (hits int) {
		for i := range 1000 {
			key := fmt.Sprint("hot", i)
			if e := table.get(table.hash(key), key); e != nil {
				table.used(table.hash(e.key), e)
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
		"zipf of large ones": func(_ *rand.Rand, z *rand.Zipf, _ int) uint64 { return z.Uint64() },
		"zipf":               func(_ *rand.Rand, z *rand.Zipf, _ int) uint64 { return z.Uint64() },
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
			size := 0
			if name == "zipf of large ones" { // in many shards, with few in each
				size = 20_000
			}
			table, _ := tableOf(entries * int64(size+100+8+slotSize))
			theirs := otter.Must(&otter.Options[string, int]{MaximumSize: entries, Executor: func(f func()) { f() }})
			defer theirs.StopAllGoroutines()
			random := rand.New(rand.NewPCG(1, 2))
			zipf := rand.NewZipf(random, 1.01, 10, 100_000)
			ours, other := 0, 0
			for i := range reads {
				key := fmt.Sprintf("%08d", next(random, zipf, i))
				if e := table.get(table.hash(key), key); e != nil {
					table.used(table.hash(e.key), e)
					ours++
				} else {
					putSized(table, key, "", size)
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
						table.used(table.hash(e.key), e)
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
	seed := maphash.MakeSeed()
	table := newTable(func(key string) uint64 { return maphash.String(seed, key) }, 1<<10, func(*hot, bool) {})
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

// Keys with few hashes share homes and tags, fill buckets and overflow them.
func TestTableDistinguishesKeysOfOneHash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys int
		hash func(key string) uint64
	}{
		"one hash":               {400, func(string) uint64 { return 0 }},
		"one home at the end":    {400, func(key string) uint64 { return 0xffffffff<<8 | uint64(key[len(key)-1]) }},
		"one tag":                {2000, func(key string) uint64 { return uint64(len(key))<<60 | uint64(key[3])<<20 }},
		"more than are counted":  {3 * overflowed, func(string) uint64 { return 1 << 39 }},
		"tags that look like no": {500, func(key string) uint64 { return uint64(key[len(key)-1]&1) | 1<<35 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, _ := hashedTable(c.hash, 1<<40)
			want := make(map[string]string)
			random := rand.New(rand.NewPCG(3, 4))
			for step := range 8 * c.keys {
				i := random.IntN(c.keys)
				if step > 4*c.keys {
					i = i * i / c.keys // others stay
				}
				key := fmt.Sprint("key", i)
				switch random.IntN(5) {
				case 0, 1:
					table.drop(table.hash(key), key)
					delete(want, key)
				case 2:
					e := table.get(table.hash(key), key)
					text, ok := want[key]
					require.Equal(t, ok, e != nil, key)
					require.True(t, e == nil || e.text == text)
				default:
					want[key] = fmt.Sprint(step)
					putRecord(table, key, want[key])
				}
			}
			for i := range c.keys {
				key := fmt.Sprint("key", i)
				text, ok := want[key]
				e := table.get(table.hash(key), key)
				require.Equal(t, ok, e != nil, key)
				require.True(t, e == nil || e.text == text)
			}
			for key := range want {
				table.drop(table.hash(key), key)
				require.Nil(t, table.get(table.hash(key), key))
			}
			require.Zero(t, table.count.Load())
			require.Zero(t, table.weight.Load())
			for i := range table.shards {
				for j := range *table.shards[i].buckets.Load() {
					meta := (*table.shards[i].buckets.Load())[j].meta.Load()
					require.Zero(t, meta&tagBits)
					require.Contains(t, []uint64{0, overflowed}, meta>>(8*perBucket), "each overflow is taken back")
				}
			}
		})
	}
}

// Where entries grow by what readers derive, hits keep the total near its limit.
func TestTableStaysWithinItsWeightWhileEntriesGrow(t *testing.T) {
	t.Parallel()
	const most = 4 << 20
	table, evicted := tableOf(most)
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
		putRecord(table, keys[i], "text")
	}
	require.Zero(t, evicted.Load())
	for _, key := range keys {
		if e := table.get(table.hash(key), key); e != nil {
			e.grow(500)
			table.used(table.hash(key), e)
			require.LessOrEqual(t, table.weight.Load(), int64(most+1000))
		}
	}
	require.Positive(t, evicted.Load())
}

// However many entries there are, and however often each was used, no write looks
// at more than a few of them to evict one.
func TestEvictionLooksAtFewEntries(t *testing.T) {
	t.Parallel()
	table, evicted := tableOf(1 << 20)
	keys := 0
	for ; evicted.Load() == 0; keys++ {
		putRecord(table, fmt.Sprint("key", keys), "")
	}
	uses := func() (sum int) {
		for i := range keys {
			key := fmt.Sprint("key", i)
			if e := table.get(table.hash(key), key); e != nil {
				sum += int(e.Slot().uses.Load())
			}
		}
		return sum
	}
	for i := range keys {
		key := fmt.Sprint("key", i)
		for range mostUses {
			if e := table.get(table.hash(key), key); e != nil {
				table.used(table.hash(key), e)
			}
		}
	}
	for i := range 2000 {
		before, gone := uses(), evicted.Load()
		putRecord(table, fmt.Sprint("new", i), "")
		after, now := uses(), evicted.Load()
		require.LessOrEqual(t, before-after, int(now-gone)*(mostPassed+mostUses))
		if i > keys/8 {
			break
		}
	}
	require.Greater(t, evicted.Load(), int64(100))
}

// What writers of a shard wait for at most: that the largest shard there is, of the
// smallest copies, gets more buckets.
func BenchmarkGrowingShard(b *testing.B) {
	table, evicted := tableOf(64 << 20)
	for i := 0; evicted.Load() == 0; i++ {
		putRecord(table, fmt.Sprint("key", i), "")
	}
	i := 0
	for b.Loop() {
		s := &table.shards[i%len(table.shards)]
		s.resize(table, len(*s.buckets.Load()))
		i++
	}
	b.ReportMetric(float64(table.count.Load())/float64(len(table.shards)), "entries/shard")
}

// A write that evicts where all entries are in use.
func BenchmarkEvictingWrite(b *testing.B) {
	table, evicted := tableOf(64 << 20)
	keys := 0
	for ; evicted.Load() == 0; keys++ {
		putRecord(table, fmt.Sprint("key", keys), "")
	}
	for b.Loop() {
		key := fmt.Sprint("key", rand.IntN(2*keys))
		for range mostUses {
			if e := table.get(table.hash(key), key); e != nil {
				table.used(table.hash(key), e)
			}
		}
		putRecord(table, fmt.Sprint("new", rand.IntN(keys)), "")
	}
}
