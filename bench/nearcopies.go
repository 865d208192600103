// The cost of many near copies: memory, and the CPU time of a hit among them.

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

const (
	manyCopies = 1_000_000
	fewCopies  = 10_000
)

// nearCopies measures near copies in this process.
func (b *bench) nearCopies(_ context.Context, r *results) error {
	if b.smoke {
		return nil
	}
	if err := b.nearMemory(r); err != nil {
		return err
	}
	return b.nearAmongMany(r)
}

// copiesOf makes near copies of n sessions, and returns the average size of their
// JSON. If perTag is not 0, so many of them share a tag.
func copiesOf(n, perTag int) (copies *near.Cache[cache.Record, *cache.Record], json float64, err error) {
	copies = near.New[cache.Record](near.Options{MaxSize: 4 << 30, TTL: time.Hour})
	copies.SetTrust(near.Coherent)
	now, bytes := time.Now(), 0
	for i := range n {
		record, err := cache.Decode(sessionRecord(strconv.Itoa(manyCopies+i)), cache.DefaultMaxValueSize)
		if err != nil {
			return nil, 0, err
		}
		var versions []*near.Version
		if perTag > 0 {
			const version = "ABCDEFGHIJKLMNOP" // as long as those of the Redis store
			tag := "user:" + strconv.Itoa(i/perTag)
			record = record.WithTags(map[string]string{tag: version})
			versions = append(versions, copies.BeginVersion("fwb:tag:"+tag).Keep(version))
		}
		bytes += record.Size()
		copies.Begin(sessionKey(i), true).Keep(near.Copy[cache.Record]{Record: record, Versions: versions}, now)
	}
	if entries := copies.Stats().Entries; entries < n {
		return nil, 0, violation{fmt.Sprintf("made %d near copies, but there are %d", n, entries)}
	}
	return copies, float64(bytes) / float64(n), nil
}

func sessionKey(i int) string { return "session:user:" + strconv.Itoa(manyCopies+i) }

// nearMemory measures the heap that near copies take.
func (b *bench) nearMemory(r *results) error {
	const allowance = 220 - 97 // beside the JSON
	for _, kind := range []struct {
		name   string
		perTag int
		hasBar bool
	}{
		{"memory of a near entry with its key, of a million", 0, true},
		{"the same with a tag that 100 of them share", 100, true},
		{"the same with a tag for each", 1, false},
	} {
		before := heap()
		copies, json, err := copiesOf(manyCopies, kind.perTag)
		if err != nil {
			return err
		}
		taken, counted := float64(heap()-before)/manyCopies, float64(copies.Stats().Bytes)/manyCopies
		f := finding{work: kind.name, result: fmt.Sprintf("%.0f bytes; the JSON has %.0f; counted in max_size are %.0f", taken, json, counted)}
		if kind.hasBar {
			f.bar, f.reached = fmt.Sprintf("≤ JSON + %d bytes", allowance), taken <= json+allowance
		}
		r.findings = append(r.findings, f)
		runtime.KeepAlive(copies)
	}
	before, nothing := heap(), 0
	bare := otter.Must(&otter.Options[string, *int]{MaximumWeight: 1 << 40, Weigher: func(string, *int) uint32 { return 100 }})
	defer bare.StopAllGoroutines()
	for i := range manyCopies {
		bare.Set(sessionKey(i), &nothing)
	}
	bare.CleanUp()
	r.findings = append(r.findings, finding{
		work: "bare otter with the same keys and no values", result: fmt.Sprintf("%.0f bytes", float64(heap()-before)/manyCopies),
	})
	runtime.KeepAlive(bare)
	return nil
}

// nearAmongMany measures the CPU time of hits while requests allocate, which makes the
// garbage collector scan all copies again and again. For comparison, the same is
// measured with as many unused objects of that size, which the collector reaches in
// the order of their addresses or, as in a hash table, in random order.
func (b *bench) nearAmongMany(r *results) error {
	few, _, err := copiesOf(fewCopies, 0)
	if err != nil {
		return err
	}
	var objects []*[176]byte
	var many *near.Cache[cache.Record, *cache.Record]
	for _, row := range []struct {
		work    string
		prepare func() error
	}{
		{fmt.Sprintf("CPU of a near hit and of the garbage of a request (5 KiB), %d copies", fewCopies), func() error { return nil }},
		{fmt.Sprintf("the same, with %d objects of 176 bytes that are not used, in the order of their addresses", manyCopies), func() error {
			objects = make([]*[176]byte, manyCopies)
			for i := range objects {
				objects[i] = new([176]byte)
			}
			return nil
		}},
		{"the same, in random order", func() error {
			rand.Shuffle(manyCopies, func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
			return nil
		}},
		{fmt.Sprintf("the same, %d copies", manyCopies), func() (err error) {
			objects = nil
			many, _, err = copiesOf(manyCopies, 0)
			return err
		}},
	} {
		if err := row.prepare(); err != nil {
			return err
		}
		copies, n := few, fewCopies
		if many != nil {
			copies, n = many, manyCopies
		}
		costs, err := b.amongCopiesEachRound(copies, n)
		if err != nil {
			return err
		}
		r.findings = append(r.findings, finding{work: row.work, result: spreadOf(costs).String() + " µs"})
		runtime.KeepAlive(objects)
	}
	runtime.KeepAlive(few)
	return nil
}

// amongCopiesEachRound returns amongCopies of each round.
func (b *bench) amongCopiesEachRound(copies *near.Cache[cache.Record, *cache.Record], n int) (costs []float64, err error) {
	for range b.rounds {
		cost, err := amongCopies(copies, n)
		if err != nil {
			return nil, err
		}
		costs = append(costs, cost)
	}
	return costs, nil
}

// garbage is a global variable, so that the compiler cannot omit the allocation.
var garbage []byte

// amongCopies returns the CPU time of a hit on one of n copies, and of an allocation
// of 5 KiB, in microseconds.
func amongCopies(copies *near.Cache[cache.Record, *cache.Record], n int) (float64, error) {
	const hits, perHit = 1_000_000, 5 << 10
	keys := make([]string, hits/100)
	random, now := uint64(1), time.Now()
	runtime.GC()
	before, err := cpuTime(os.Getpid())
	if err != nil {
		return 0, err
	}
	for i := range hits {
		if i%len(keys) == 0 {
			for j := range keys {
				random = random*6364136223846793005 + 1442695040888963407
				keys[j] = sessionKey(int(random >> 33 % uint64(n)))
			}
		}
		found, ok := copies.Peek(keys[i%len(keys)], true, now)
		if !ok || found.Record.State() != cache.Found {
			return 0, violation{"a near copy was not found"}
		}
		garbage = make([]byte, perHit)
	}
	runtime.KeepAlive(garbage)
	after, err := cpuTime(os.Getpid())
	return float64((after - before).Nanoseconds()) / hits / 1000, err
}

// heap returns the size of all objects in use, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// amongKeys compares the CPU time of a hit over HTTP among many and among few
// sessions. They are measured some minutes apart, so the second finding divides that
// by the same ratio of lookups without near copies.
func amongKeys(g growth) []finding {
	at := func(n int, site string) []sample {
		i := slices.IndexFunc(g.rows, func(row growthRow) bool { return row.label == strconv.Itoa(n) })
		if i < 0 {
			return nil
		}
		return g.rows[i].samples[site]
	}
	growthOf := func(site string) (ratios []float64) {
		few, many := at(fewCopies, site), at(manyCopies, site)
		for i := range min(len(few), len(many)) {
			ratios = append(ratios, many[i].cpuPer10k()/few[i].cpuPer10k())
		}
		return ratios
	}
	near, off := growthOf(metadataFiles), growthOf(nearOffFiles)
	if len(near) == 0 || len(off) != len(near) {
		return nil
	}
	beside := make([]float64, len(near))
	for i := range near {
		beside[i] = near[i] / off[i]
	}
	ratio := spreadOf(near)
	return []finding{{
		fmt.Sprintf("CPU of a hit of both lookups among %d sessions near / among %d", manyCopies, fewCopies),
		"≤ 1.05", ratio.median <= 1.05, ratio.String(),
	}, {
		work: "the same beside the growth of " + nearOffFiles, result: spreadOf(beside).String(),
	}}
}
