package cache

import (
	"fmt"
	"runtime"
	"strings"
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

// MaxSize is memory, as an operator understands it.
func TestSizeOfNearCopiesIsWhatTheyTakeInMemory(t *testing.T) {
	for name, c := range map[string]struct {
		size    int
		tags    int // 0: none; n: a tag for n records
		derives bool
	}{
		"small":                  {size: 97},
		"tiny":                   {size: 20},
		"medium":                 {size: 300},
		"large":                  {size: 3000},
		"with a shared tag":      {size: 97, tags: 100},
		"with a derived value":   {size: 150, derives: true},
		"derived, of large ones": {size: 1000, derives: true},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 20_000
			before := heapSize()
			copies := near.New[Record](near.Options{MaxSize: 1 << 30, TTL: time.Hour})
			copies.SetTrust(near.Coherent)
			p, raw, now := pathsOf("user_id", "roles"), make([]string, 2), time.Now()
			for i := range n {
				text := fmt.Sprintf(`{"user_id":"u-%d","roles":[],"x":"`, i)
				text += strings.Repeat("x", max(0, c.size-len(text)-2)) + `"}`
				r, key := decoded(t, text), fmt.Sprint("session:user:", n+i)
				var versions []*near.Version
				if c.tags > 0 {
					tag := fmt.Sprint("user:", i/c.tags)
					r = r.WithTags(map[string]string{tag: "v"})
					versions = append(versions, copies.BeginVersion("tag:"+tag).Keep("v"))
				}
				copies.Begin(key, true).Keep(near.Copy[Record]{Record: r, Versions: versions, Derives: c.derives}, now)
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
