package redis

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// benchWorkers is how many lookups are under way at a time, for each CPU.
const benchWorkers = 32

// BenchmarkNewSession is a lookup of a session that is in no store, by a source that
// answers at once. trips are round trips to Redis for each.
func BenchmarkNewSession(b *testing.B) {
	server := redistest.Start(b)
	tags := func(req cache.Request, _ *cache.Record) []string { return []string{req.ID, "all"} }
	for _, c := range []struct {
		name   string
		answer *cache.Record
		tags   func(cache.Request, *cache.Record) []string
	}{{"found", versioned(1), nil}, {"tags", versioned(1), tags}, {"absent", cache.AbsentRecord(), nil}} {
		for _, workers := range []int{1, benchWorkers} {
			b.Run(fmt.Sprintf("%s/%d at a time", c.name, workers), func(b *testing.B) {
				src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) { return cache.Loaded{Record: c.answer}, nil }}
				in, stats := newPlain(b, at(server), cache.LookupOptions{Source: src, Tags: c.tags})
				base := fmt.Sprint("session:user:", time.Now().UnixNano(), ":")
				measureLookups(b, in, stats, workers, func(i int64) string { return fmt.Sprint(base, i) })
				if src.asked.Load() != int64(b.N) {
					b.Fatalf("the source was asked %d times for %d sessions", src.asked.Load(), b.N)
				}
			})
		}
	}
}

// BenchmarkNearMiss is a lookup of a record that Redis has and this node has not: by
// a lookup that only reads, and by one that would take the lease.
func BenchmarkNearMiss(b *testing.B) {
	server := redistest.Start(b)
	const records = 1000 // so that lookups at the same time are of different ones
	key := func(i int64) string { return fmt.Sprint("session:user:", i%records) }
	for i := range int64(records) {
		if err := server.Client().Set(b.Context(), key(i), `{"user_id":"u-1","name":"Ada Lovelace","roles":["reader","editor"]}`, ttl).Err(); err != nil {
			b.Fatal(err)
		}
	}
	for name, src := range map[string]cache.Source{"only reads": nil, "has a source": &source{}} {
		for _, workers := range []int{1, benchWorkers} {
			b.Run(fmt.Sprintf("%s/%d at a time", name, workers), func(b *testing.B) {
				in, stats := newPlain(b, at(server), cache.LookupOptions{Source: src})
				measureLookups(b, in, stats, workers, key)
			})
		}
	}
}

func measureLookups(b *testing.B, in *instance, stats *cache.Stats, workers int, key func(i int64) string) {
	var n atomic.Int64
	b.SetParallelism(workers)
	b.ReportAllocs()
	before := stats.StoreLatency.Count()
	look := func() {
		if r := in.look(key(n.Add(1))); r.Err != nil {
			b.Error(r.Err)
		}
	}
	if workers == 1 {
		for range b.N {
			look()
		}
	} else {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				look()
			}
		})
	}
	b.ReportMetric(float64(stats.StoreLatency.Count()-before)/float64(b.N), "trips/op")
}
