package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// tagDropped is the name of the tag.
	tagDropped = "batch"
	// tagDrops is how often it is dropped in each round.
	tagDrops = 3
)

// taggedSource is a source that has the same record for each identity.
type taggedSource struct{ record *cache.Record }

func (taggedSource) Name() string { return "bench" }

func (s taggedSource) Load(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) {
	return cache.Loaded{Record: s.record}, nil
}

// dropTags compares the time to drop a tag of many records with that of one. It must
// take the same round trips: a drop is one write.
func (b *bench) dropTags(ctx context.Context, server *redisServer, c *cache.Cache, r *results) error {
	counts := []int{1, 1000, 100_000}
	if b.smoke {
		counts = []int{1, 1000}
	}
	// redis-benchmark deletes random keys, so some of those that it wrote are left
	if _, err := c.DeletePrefix(ctx, batchPrefix); err != nil {
		return err
	}
	drops := make([]tagCost, len(counts))
	for range b.rounds {
		for i, n := range counts {
			for range tagDrops {
				if err := drops[i].add(dropTag(ctx, server, c, n)); err != nil {
					return fmt.Errorf("dropping a tag of %d records: %w", n, err)
				}
			}
			if got, want := drops[i].trips, drops[0].trips; got != want {
				return violation{fmt.Sprintf("dropping a tag of %d records took %d round trips, want %d as with one record", n, got, want)}
			}
		}
	}
	one := spreadOf(drops[0].seconds).median
	for i, n := range counts[1:] {
		many := spreadOf(drops[i+1].seconds).median
		r.findings = append(r.findings, finding{
			work: fmt.Sprintf("cache.DropTag of %d records / of one", n), bar: "≤ 2", reached: many/one <= 2,
			result: fmt.Sprintf("%.2f: %.0f against %.0f µs", many/one, many*1e6, one*1e6),
		})
	}
	return nil
}

// tagCost is the cost of dropping a tag of some number of records: the durations, and the
// least number of round trips. Trackers may send commands at the same time.
type tagCost struct {
	seconds []float64
	trips   int64
}

func (c *tagCost) add(took time.Duration, roundTrips int64, err error) error {
	if c.trips == 0 || roundTrips < c.trips {
		c.trips = roundTrips
	}
	c.seconds = append(c.seconds, took.Seconds())
	return err
}

// dropTag stores n records with the tag, drops it, and checks that they are gone.
func dropTag(ctx context.Context, server *redisServer, c *cache.Cache, n int) (took time.Duration, roundTrips int64, err error) {
	items, err := tagged(ctx, c, n)
	if err != nil {
		return 0, 0, err
	}
	last := items[n-1].Key
	if there, err := c.Exists(ctx, last); err != nil || !there {
		return 0, 0, errors.Join(err, violation{"a record with a current tag was not found"})
	}
	before, err := server.traffic(ctx)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := c.DropTag(ctx, tagDropped); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	after, err := server.traffic(ctx)
	if err != nil {
		return 0, 0, err
	}
	if there, err := c.Exists(ctx, last); err != nil || there {
		return 0, 0, errors.Join(err, violation{"a record whose tag was dropped was still found"})
	}
	_, err = c.DeletePrefix(ctx, batchPrefix)
	return took, after.roundTrips - before.roundTrips, err
}

// tagged stores n records with the tag. A lookup fills the first; the others are
// written as copies of it.
func tagged(ctx context.Context, c *cache.Cache, n int) ([]cache.Item, error) {
	record, err := cache.Decode(sessionRecord("0123456789abcdef0123456789abcdef"), cache.DefaultMaxValueSize)
	if err != nil {
		return nil, err
	}
	lookup, err := c.NewLookup(cache.LookupOptions{
		Name: "tags", Family: cache.Session, TTL: time.Hour, Source: taggedSource{record},
		Tags: func(cache.Request, *cache.Record) []string { return []string{tagDropped} },
	})
	if err != nil {
		return nil, err
	}
	key := func(i int) string { return fmt.Sprintf("%s%012d", batchPrefix, i) }
	if r := lookup.Find(ctx, cache.Request{Key: key(0), ID: "first"}); r.Err != nil || !r.Stored {
		return nil, errors.Join(r.Err, violation{"a record with a tag was not stored"})
	}
	first, err := c.Get(ctx, key(0))
	if err != nil {
		return nil, err
	}
	items := make([]cache.Item, n)
	for i := range items {
		items[i] = cache.Item{Key: key(i), Record: first.Record, TTL: time.Hour}
	}
	return items, c.SetMany(ctx, items)
}
