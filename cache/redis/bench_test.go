package redis

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// Run with: go test -run xxx -bench . -benchmem ./cache/redis
// The server runs on the same machine and takes its share of it.

func benchItems(b *testing.B, n int) ([]cache.Item, []string) {
	items, keys := make([]cache.Item, n), make([]string, n)
	for i := range items {
		keys[i] = "file:meta:" + strconv.Itoa(i)
		items[i] = cache.Item{Key: keys[i], Record: record(b, fmt.Sprintf(`{"name":%q}`, strings.Repeat("x", 240))), TTL: ttl}
	}
	return items, keys
}

func BenchmarkGet(b *testing.B) {
	s := open(b, at(redistest.Start(b)))
	items, keys := benchItems(b, 1)
	require.NoError(b, s.SetMany(b.Context(), items))
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Get(b.Context(), keys[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Get(b.Context(), keys[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkGetMany100(b *testing.B) {
	s := open(b, at(redistest.Start(b)))
	items, keys := benchItems(b, 100)
	require.NoError(b, s.SetMany(b.Context(), items))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.GetMany(b.Context(), keys); err != nil {
			b.Fatal(err)
		}
	}
}

// Per key; the server does as much per key as redis-benchmark -P 100 shows.
func BenchmarkGetMany100000(b *testing.B) {
	s := open(b, at(redistest.Start(b)))
	items, keys := benchItems(b, 100_000)
	require.NoError(b, s.SetMany(b.Context(), items))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.GetMany(b.Context(), keys); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(keys)), "ns/key")
}

func BenchmarkSetMany100(b *testing.B) {
	s := open(b, at(redistest.Start(b)))
	items, _ := benchItems(b, 100)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.SetMany(b.Context(), items); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDeletePrefix(b *testing.B) {
	server := redistest.Start(b)
	s := open(b, at(server))
	fillForeign(b, server, "other:", 10_000)
	for b.Loop() {
		b.StopTimer()
		fillForeign(b, server, "purge:", 10_000)
		b.StartTimer()
		if n, err := s.DeletePrefix(b.Context(), "purge:"); err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
	}
}
