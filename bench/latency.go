// Latency of hits while other requests wait for a slow application.

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// hitsPerSecond is the rate of the load, far below the server's limit.
	hitsPerSecond = 2000
	// One request in missEvery has a new session, for which the application needs
	// slowAnswer.
	missEvery  = 100
	slowAnswer = 200 * time.Millisecond
	// latencyBar is the largest allowed ratio of the latency with misses to that
	// without.
	latencyBar = 1.3
)

// latencyTail holds the latencies that one request in a hundred, and one in a thousand,
// exceeds.
type latencyTail struct{ p99, p999 time.Duration }

func tailOf(latencies []time.Duration) latencyTail {
	slices.Sort(latencies)
	at := func(perMille int) time.Duration { return latencies[(len(latencies)-1)*perMille/1000] }
	return latencyTail{at(990), at(999)}
}

// hitsBesideMisses measures hits with and without misses, in turns.
func (b *bench) hitsBesideMisses(ctx context.Context, r *results) error {
	hits := b.visitors.ids[:min(1000, len(b.visitors.ids))]
	warm := load{template: get(small), sessions: &sessions{ids: hits}, connections: connections}
	warm.visits = eachOnce(warm.sessions)
	v := variant{site: slowSourceFiles, template: get(small), warm: traffic{application: never, redis: never}}
	if err := b.warmUpWith(ctx, v, warm); err != nil {
		return err
	}
	count := int(b.duration.Seconds()) * hitsPerSecond * 2
	if b.smoke {
		count = hitsPerSecond / 10
	}
	tails := make(map[bool][]latencyTail) // with and without misses
	for round := range b.rounds {
		for turn := range 2 {
			misses := (round+turn)%2 == 1
			t, err := b.hitTail(ctx, hits, count, misses)
			if err != nil {
				return err
			}
			tails[misses] = append(tails[misses], t)
		}
	}
	if !b.smoke {
		r.findings = append(r.findings, compareTails(tails[true], tails[false])...)
	}
	return nil
}

// compareTails compares the latencies of hits with those without misses.
func compareTails(beside, alone []latencyTail) (findings []finding) {
	for _, part := range []struct {
		name string
		of   func(latencyTail) time.Duration
	}{{"p99", func(t latencyTail) time.Duration { return t.p99 }}, {"p99.9", func(t latencyTail) time.Duration { return t.p999 }}} {
		milliseconds := func(tails []latencyTail) []float64 {
			values := make([]float64, len(tails))
			for i, t := range tails {
				values[i] = float64(part.of(t).Microseconds()) / 1000
			}
			return values
		}
		with, without := milliseconds(beside), milliseconds(alone)
		ratio := spreadOf(ratios(with, without))
		findings = append(findings, finding{
			fmt.Sprintf("%s of hits, %d requests a second begun on time, while 1 %% miss to an application that takes %v / without misses",
				part.name, hitsPerSecond, slowAnswer),
			fmt.Sprintf("≤ %.1f", latencyBar), ratio.median <= latencyBar,
			fmt.Sprintf("%s: %.2f ms against %.2f ms", ratio, spreadOf(with).median, spreadOf(without).median),
		})
	}
	return findings
}

// hitTail sends one load, with or without misses. The application must get one
// request for each miss.
func (b *bench) hitTail(ctx context.Context, hits []string, count int, misses bool) (latencyTail, error) {
	b.sets++
	missed := 0
	l := openLoad{
		addr: b.sites[slowSourceFiles].addr, template: get(small), perSecond: hitsPerSecond, count: count,
		id: func(n int) (string, bool) {
			if misses && n%missEvery == missEvery/2 {
				missed++
				return fmt.Sprintf("%s%d-%08d", slowPrefix, b.sets, n), false
			}
			return hits[n%len(hits)], true
		},
	}
	before, err := b.applicationCalls(ctx)
	if err != nil {
		return latencyTail{}, err
	}
	latencies, err := l.run(ctx)
	if err != nil {
		return latencyTail{}, fmt.Errorf("hits beside misses: %w", err)
	}
	after, err := b.applicationCalls(ctx)
	if err != nil {
		return latencyTail{}, err
	}
	if got := int(after - before); got != missed {
		return latencyTail{}, violation{fmt.Sprintf("%d new sessions beside hits caused %d requests to the application, want one each", missed, got)}
	}
	return tailOf(latencies), nil
}
