// The cost of a near hit within a process, without the network.

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// hits measures near hits of package cache, and of the handlers.
func (b *bench) hits(ctx context.Context, r *results) error {
	if err := b.nearHits(ctx, r); err != nil {
		return err
	}
	if b.smoke {
		return nil
	}
	if err := b.handlerHits(ctx, r); err != nil {
		return err
	}
	return b.turns(ctx, r)
}

// nearKeys is the number of keys, which are looked up in turn.
const nearKeys = 1024

// nearHits compares a near hit of package cache with a read of a bare otter cache.
func (b *bench) nearHits(ctx context.Context, r *results) error {
	c, err := b.redis.openCache()
	if err != nil {
		return err
	}
	defer c.Close()
	c.EnableNear(near.Options{TTL: time.Hour})
	lookup, err := c.NewLookup(cache.LookupOptions{
		Name: "hits", Family: "session", KeyPrefix: "hit:", TTL: time.Hour, Strict: true, ExpiresAt: true,
	})
	if err != nil {
		return err
	}
	bare := otter.Must(&otter.Options[string, *cache.Record]{
		MaximumSize: 1 << 20, ExpiryCalculator: otter.ExpiryWriting[string, *cache.Record](time.Hour),
	})
	defer bare.StopAllGoroutines()
	requests, err := fillNear(ctx, c, lookup, bare)
	if err != nil {
		return err
	}
	at := 0
	lookUp := func() {
		lookup.Find(ctx, requests[at%nearKeys])
		at++
	}
	allocations := testing.AllocsPerRun(1000, lookUp)
	if allocations != 0 {
		return violation{fmt.Sprintf("a near hit made %.1f allocations, want 0", allocations)}
	}
	if b.smoke {
		return nil
	}
	var ours, ratios []float64
	for range b.rounds {
		one := nanoseconds(lookUp)
		ours = append(ours, one)
		ratios = append(ratios, one/nanoseconds(func() {
			bare.GetIfPresent(requests[at%nearKeys].Key)
			at++
		}))
	}
	hit, beside := spreadOf(ours), spreadOf(ratios)
	r.findings = append(r.findings,
		finding{"`cache` near hit", "≤ 150 ns, 0 allocations", hit.median <= 150, fmt.Sprintf("%.0f ns (%.0f–%.0f), 0 allocations", hit.median, hit.low, hit.high)},
		finding{"the same / bare otter read", "≤ 3", beside.median <= 3, beside.String()})
	return nil
}

// fillNear stores records, and looks them up until each has a near copy.
func fillNear(ctx context.Context, c *cache.Cache, lookup *cache.Lookup, bare *otter.Cache[string, *cache.Record]) ([]cache.Request, error) {
	requests := make([]cache.Request, nearKeys)
	for i := range requests {
		requests[i].Key = fmt.Sprintf("hit:%064d", i)
		record, err := cache.Decode(sessionRecord(strconv.Itoa(i)), cache.DefaultMaxValueSize)
		if err != nil {
			return nil, err
		}
		bare.Set(requests[i].Key, record)
		if err := c.Set(ctx, requests[i].Key, record, time.Hour); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for near := 0; near < nearKeys; {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for near copies: %w", ctx.Err())
		}
		near = 0
		for _, request := range requests {
			if result := lookup.Find(ctx, request); result.From == "near" {
				near++
			}
		}
	}
	return requests, nil
}

func nanoseconds(f func()) float64 {
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			f()
		}
	})
	return float64(result.T.Nanoseconds()) / float64(result.N)
}

// handlerBenchmark matches a line of `go test -bench -benchmem`: name, ns/op,
// allocs/op.
var handlerBenchmark = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op.*?\s(\d+) allocs/op`)

// bareRequest is the benchmark of Caddy's own preparation of a request.
const bareRequest = "SessionHit/BareRequest"

// handlerHits runs the benchmarks in the packages of the handlers.
func (b *bench) handlerHits(ctx context.Context, r *results) error {
	test := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(Metadata|Session)Hit$", "-benchmem", "./handlers/...")
	test.Dir = ".." // the plugin's module
	out, err := test.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmarks of the handlers: %w\n%s", err, out)
	}
	found := handlerBenchmark.FindAllStringSubmatch(string(out), -1)
	bare := [2]float64{}
	measured := make(map[string][2]float64)
	for _, match := range found {
		ns, err := strconv.ParseFloat(match[2], 64)
		allocations, err2 := strconv.ParseFloat(match[3], 64)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		measured[match[1]] = [2]float64{ns, allocations}
		if match[1] == bareRequest {
			bare = measured[match[1]]
		}
	}
	for _, match := range found {
		if strings.HasSuffix(match[1], "/BareRequest") {
			continue
		}
		ns, allocations := measured[match[1]][0]-bare[0], measured[match[1]][1]-bare[1]
		r.findings = append(r.findings, finding{
			"handler alone, " + match[1], "≤ 2 µs", ns <= 2000,
			fmt.Sprintf("%.2f µs and %.0f allocations above the %.2f µs of Caddy's own preparation", ns/1000, allocations, bare[0]/1000),
		})
	}
	return nil
}

// turnsBenchmark matches a line of BenchmarkTurns: the size of the session in bytes,
// the number of routes, and the ratio.
var turnsBenchmark = regexp.MustCompile(`(?m)^BenchmarkTurns/(\d+)/(\d+)\S*\s.*?\s([\d.]+) alone/turns`)

// turns compares hits of routes that look the same session up in turns with hits of
// each route alone.
func (b *bench) turns(ctx context.Context, r *results) error {
	ratios, rows := make(map[string][]float64), []string(nil)
	for range b.rounds {
		test := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Turns", "-benchtime", "1000x", "./handlers/session")
		test.Dir = ".."
		out, err := test.CombinedOutput()
		if err != nil {
			return fmt.Errorf("running the benchmark of turns: %w\n%s", err, out)
		}
		for _, match := range turnsBenchmark.FindAllStringSubmatch(string(out), -1) {
			ratio, err := strconv.ParseFloat(match[3], 64)
			if err != nil {
				return err
			}
			row := fmt.Sprintf("%s routes that take turns on a session of %s bytes, handlers alone / each route by itself", match[2], match[1])
			if ratios[row] == nil {
				rows = append(rows, row)
			}
			ratios[row] = append(ratios[row], ratio)
		}
	}
	if len(rows) == 0 {
		return errors.New("the benchmark of turns has printed no ratio")
	}
	for _, row := range rows {
		s := spreadOf(ratios[row])
		r.findings = append(r.findings, finding{row, "≥ 0.97", s.median >= 0.97, s.String()})
	}
	return nil
}
