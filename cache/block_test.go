package cache

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

func TestCopyOfARecordHasAllThatTheRecordHas(t *testing.T) {
	t.Parallel()
	version := near.NewVersion("v")
	for _, derives := range []bool{false, true} {
		for _, version := range []*near.Version{nil, version} {
			for size := range 600 {
				text := fmt.Sprintf(`{"expires_at":4102444800,"_source":"0123456789abcdef","_ttl":1500,"_tags":{"a":"v"},"x":"%s"}`, strings.Repeat("é", size/2))
				key := "key:" + strings.Repeat("k", size%97)
				r := decoded(t, text)
				kept := r.WithKey(key, version, derives)
				require.Equal(t, text, kept.Text())
				require.Equal(t, key, kept.Key())
				require.Same(t, version, kept.Version())
				require.Equal(t, r.Tags(), kept.Tags())
				require.Equal(t, []RecordTag{{"a", "v"}}, kept.Tags())
				for _, r := range []*Record{r, kept, kept.WithKey("other", nil, false)} {
					require.Equal(t, int64(4102444800e9), r.expires)
					require.Equal(t, uint64(0x0123456789abcdef), r.sourceID)
					require.Equal(t, uint32(1500), r.ttl)
					require.Equal(t, originSource, r.origin)
					require.Equal(t, Found, r.State())
				}
				kept.SetMemo(size, 8)
				if derives {
					require.Equal(t, size, kept.Memo())
				}
			}
		}
	}
	empty := new(Record)
	require.Empty(t, empty.Text()+empty.Key())
	require.Nil(t, empty.Memo())
	empty.SetMemo("nowhere", 8)
	require.Equal(t, 403, DeniedRecord(403).WithKey("k", nil, false).DeniedStatus())
	require.Equal(t, Absent, AbsentRecord().WithKey("k", nil, false).State())
}

func TestMemoOfACopyIsThatOfItsRecord(t *testing.T) {
	t.Parallel()
	r := decoded(t, `{"a":1}`)
	r.SetMemo("derived", 7)
	require.Equal(t, "derived", r.WithKey("k", nil, false).Memo())
}

func TestCopiesOfAllSizesAreRecordsOfTheirOwn(t *testing.T) {
	t.Parallel()
	version := near.NewVersion("v")
	text, key := strings.Repeat("t", 1<<17), strings.Repeat("k", 1<<17)
	type size struct{ text, key int }
	sizes := []size{{0, 0}, {0, 1}, {1, 0}, {longestTail, 0}, {longestTail + 1, 0}, {0, longestTail}, {0, longestTail + 1}, {longestTail / 2, longestTail / 2}}
	for _, n := range []int{1<<16 - 1, 1 << 16, 1<<16 + 1, 1 << 17} {
		sizes = append(sizes, size{n, 0}, size{0, n}, size{n, n}, size{n, 1}, size{1, n})
	}
	for _, s := range sizes {
		for _, derives := range []bool{false, true} {
			r := newRecord(text[:s.text])
			for _, kept := range []*Record{r.WithKey(key[:s.key], nil, derives), r.WithKey(key[:s.key], version, derives), r.WithKey("k", nil, derives).WithKey(key[:s.key], version, false)} {
				require.True(t, kept.Text() == text[:s.text] && kept.Key() == key[:s.key], "%v", s)
				require.GreaterOrEqual(t, kept.Memory(), recordSize+s.text+s.key)
				require.Nil(t, kept.Memo())
			}
		}
	}
	require.Equal(t, recordSize, new(Record).Memory())
	require.Equal(t, "k", new(Record).WithKey("k", version, true).Key())
}

// The counted size of a copy is what Go's allocator takes for it.
func TestCopiesTakeTheMemoryThatIsCountedForThem(t *testing.T) {
	var before, after runtime.MemStats
	kept, version := make([]*Record, 200), near.NewVersion("v")
	for size := 1; size <= longestTail; size++ {
		r := newRecord(strings.Repeat("t", size))
		for _, c := range []struct {
			version *near.Version
			memos   bool
		}{{nil, false}, {nil, true}, {version, false}, {version, true}} {
			counted := r.WithKey("", c.version, c.memos).Memory()
			taken := math.Inf(1)
			for range 10 { // something else may allocate meanwhile
				runtime.ReadMemStats(&before)
				for i := range kept {
					kept[i] = r.WithKey("", c.version, c.memos)
				}
				runtime.ReadMemStats(&after)
				if taken = min(taken, float64(after.TotalAlloc-before.TotalAlloc)/float64(len(kept))); taken-float64(counted) < 4 {
					break
				}
			}
			require.InDelta(t, counted, taken, 4, "size %d", size)
		}
	}
}

// A copy is made while other readers keep what they derive with its record.
func TestRecordIsCopiedWhileReadersDerive(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(`{"a":1,"b":"%s","c":[1,2],"d":{"e":5}}`, strings.Repeat("x", 2*minIndexed))
	r := decoded(t, text).WithKey("key", nil, true)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			p, raw := pathsOf(fmt.Sprint("p", i), "a", "d.e"), make([]string, 3)
			for n := range 500 {
				r.Read(p, raw)
				if raw[0] != "" || raw[1] != "1" || raw[2] != "5" {
					t.Errorf("read %q", raw)
				}
				r.SetMemo(n, n)
				kept := r.WithKey("other", nil, true)
				kept.Read(p, raw)
				if _, ok := kept.Memo().(int); !ok || kept.Text() != text || kept.Memory() < len(text) || raw[2] != "5" {
					t.Errorf("the copy has %v and %q", kept.Memo(), raw)
				}
			}
		})
	}
	group.Wait()
}

// MaxSize is memory, as an operator understands it.
func TestSizeOfNearCopiesIsWhatTheyTakeInMemory(t *testing.T) {
	for name, c := range map[string]struct {
		size    int
		tags    int // 0: none; n: a tag for n records
		many    int // tags of each record
		derives bool
	}{
		"small":                  {size: 97},
		"tiny":                   {size: 20},
		"medium":                 {size: 300},
		"large":                  {size: 3000},
		"with a shared tag":      {size: 97, tags: 100, many: 1},
		"with two tags":          {size: 97, tags: 100, many: 2},
		"with many tags":         {size: 97, tags: 100, many: 9},
		"with a derived value":   {size: 150, derives: true},
		"derived, of large ones": {size: 1000, derives: true},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 20_000
			before := heapSize()
			copies := near.New[Record](near.Options{MaxSize: 128 << 20, TTL: time.Hour})
			copies.SetTrust(near.Coherent)
			p, raw, now := pathsOf("user_id", "roles"), make([]string, 2), time.Now()
			for i := range n {
				text := fmt.Sprintf(`{"user_id":"u-%d","roles":[],"x":"`, i)
				text += strings.Repeat("x", max(0, c.size-len(text)-2)) + `"}`
				r, key := decoded(t, text), fmt.Sprint("session:user:", n+i)
				var versions []*near.Version
				if c.tags > 0 {
					versions = make([]*near.Version, c.many)
				}
				for n := range versions {
					tag := fmt.Sprint(n, "user:", i/c.tags)
					versions[n] = copies.BeginVersion("tag:" + tag).Keep("v")
					if n == 0 {
						r = r.WithTags(map[string]string{tag: "v"})
					}
				}
				copies.Begin(key, true).Keep(near.Copy[Record]{Record: r, Versions: versions, Memos: c.derives}, now)
				for range 2 { // the second hit finds what the first one has kept
					kept, ok := copies.Peek(key, true, now)
					require.True(t, ok)
					kept.Record.Read(p, raw)
					if c.derives && kept.Record.Memo() == nil {
						kept.Record.SetMemo(new([100]byte), 112)
					}
				}
			}
			taken, counted := float64(heapSize()-before), float64(copies.Stats().Bytes)
			require.Equal(t, n, copies.Stats().Entries)
			require.InEpsilon(t, taken, counted, 0.1, "%.0f bytes each are counted as %.0f", taken/n, counted/n)
			runtime.KeepAlive(copies)
		})
	}
}

func heapSize() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
