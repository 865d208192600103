// Run with: go test ./cache -run '^$' -bench . -benchmem -cpu 1,2

package cache_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

const benchmarkText = `{"user_id":"u-1234567","roles":["reader","editor"],"expires_at":4102444800}`

func benchmarkKeys() []string {
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = fmt.Sprintf("session:user:%064d", i)
	}
	return keys
}

// What a hit costs beside a bare read of otter: BenchmarkOtter has the same keys
// with an expiry each, and nothing around them. A read of the
// clock alone is BenchmarkClock.
func BenchmarkHit(b *testing.B) {
	for name, bench := range map[string]struct {
		from  string
		store func() cache.Store
		tags  []string
	}{
		"near":          {"near", func() cache.Store { return watchedStore{newStore(b)} }, nil},
		"near tagged":   {"near", func() cache.Store { return watchedStore{newStore(b)} }, []string{"user:1", "all"}},
		"memory":        {"memory", func() cache.Store { return newStore(b) }, nil},
		"memory tagged": {"memory", func() cache.Store { return newStore(b) }, []string{"user:1", "all"}},
	} {
		b.Run(name, func(b *testing.B) {
			name := bench.from
			c := newCache(b, bench.store())
			c.EnableNear(near.Options{})
			lookup := newLookup(b, c, cache.LookupOptions{Sliding: true, ExpiresAt: true})
			keys := benchmarkKeys()
			for _, key := range keys {
				token, _, err := c.Store().Acquire(b.Context(), key, nil, time.Hour, true)
				require.NoError(b, err)
				_, err = c.Store().Fill(b.Context(), key, token, nil, decode(b, benchmarkText), bench.tags, time.Hour)
				require.NoError(b, err)
				lookup.Find(b.Context(), cache.Request{Key: key})
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				ctx := b.Context()
				for i := 0; pb.Next(); i++ {
					if r := lookup.Find(ctx, cache.Request{Key: keys[i%len(keys)]}); !r.OK() || r.From != name {
						b.Error("not a hit")
					}
				}
			})
		})
	}
}

// watchedStore is a store without other writers, so that copies of what
// it has are true.
type watchedStore struct{ cache.Store }

func (watchedStore) Watch(_ string, sink near.Sink) { sink.SetTrust(near.Coherent) }

func BenchmarkClock(b *testing.B) {
	for b.Loop() {
		time.Now()
	}
}

func BenchmarkOtter(b *testing.B) {
	records := otter.Must(&otter.Options[string, *cache.Record]{
		MaximumSize:      1 << 20,
		ExpiryCalculator: otter.ExpiryWriting[string, *cache.Record](time.Hour),
	})
	b.Cleanup(func() { records.StopAllGoroutines() })
	keys := benchmarkKeys()
	for _, key := range keys {
		records.Set(key, decode(b, benchmarkText))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok := records.GetIfPresent(keys[i%len(keys)]); !ok {
				b.Error("not a hit")
			}
		}
	})
}

// A lookup that finds no record and has no source.
func BenchmarkAbsent(b *testing.B) {
	lookup := newLookup(b, newCache(b, newStore(b)), cache.LookupOptions{})
	b.ReportAllocs()
	for b.Loop() {
		lookup.Find(b.Context(), reqA)
	}
}

// A lookup that is filled from a source that takes no time.
func BenchmarkFill(b *testing.B) {
	c := newCache(b, newStore(b))
	lookup := newLookup(b, c, cache.LookupOptions{Source: answering(cache.Loaded{Record: decode(b, benchmarkText)}, nil)})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		lookup.Find(b.Context(), cache.Request{Key: fmt.Sprint("key:", i)})
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(benchmarkText)))
	for b.Loop() {
		if _, err := cache.Decode(benchmarkText, cache.DefaultMaxValueSize); err != nil {
			b.Fatal(err)
		}
	}
}

// What a copy takes in memory, of a million of them. The bar is twice its JSON
// and 200 bytes; the key (77 bytes here) is part of what is measured. Run with
// -benchtime 1x.
func BenchmarkNearMemory(b *testing.B) {
	const entries = 1_000_000
	for b.Loop() {
		before := heap()
		copies := near.New[cache.Record](near.Options{MaxSize: 4 << 30})
		copies.SetTrust(near.Coherent)
		text := 0
		for i := range entries {
			record := decode(b, fmt.Sprintf(`{"user_id":"u-%07d","roles":["reader","editor"],"expires_at":4102444800}`, i))
			text = record.Size()
			key := fmt.Sprintf("session:user:%064d", i)
			copies.Begin(key, true).Keep(near.Copy[cache.Record]{Record: record}, time.Now())
		}
		require.Eventually(b, func() bool { return copies.Stats().Entries == entries }, time.Minute, time.Millisecond)
		b.ReportMetric(float64(heap()-before)/entries, "bytes/entry")
		b.ReportMetric(float64(2*text+200), "bar-bytes/entry")
		b.ReportMetric(float64(copies.Stats().Bytes)/entries, "counted-bytes/entry")
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
