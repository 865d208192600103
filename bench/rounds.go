package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// outcome is what a group came to.
type outcome struct {
	group
	rounds    []map[string]sample // one load each, by site
	strangers []map[string]sample // each of many new sessions once
	calls     map[string]float64  // system calls per request, where they could be counted
}

// countedVisits are as many as are needed to see what a request causes.
const countedVisits = 400

// run measures a group. Its variants take turns in each round, so that what
// disturbs the machine briefly disturbs them all.
func (b *bench) run(ctx context.Context, g group) (o outcome, err error) {
	o = outcome{group: g, calls: make(map[string]float64)}
	for _, v := range g.variants {
		if g.coldOnly { // but the file is known
			first := load{ask: v.ask, sessions: b.visitors, connections: 1, visits: b.visitors.visits[:1]}
			if _, err := b.measure(ctx, b.sites[v.site], first); err != nil {
				return o, b.told(v.site, err)
			}
			continue
		}
		if err := b.countOne(ctx, v, o.calls); err != nil {
			return o, b.told(v.site, err)
		}
	}
	for round := range b.rounds {
		b.say("%s, round %d of %d", g.name, round+1, b.rounds)
		if g.cold {
			if err := b.round(ctx, g, round, &o.strangers, b.coldOne); err != nil {
				return o, err
			}
		}
		if !b.smoke && !g.coldOnly {
			if err := b.round(ctx, g, round, &o.rounds, b.warmOne); err != nil {
				return o, err
			}
		}
	}
	return o, nil
}

// round lets each variant have its turn; another one begins each time.
func (b *bench) round(ctx context.Context, g group, round int, into *[]map[string]sample,
	one func(context.Context, variant) (sample, error),
) error {
	samples := make(map[string]sample)
	for i := range g.variants {
		v := g.variants[(i+round)%len(g.variants)]
		s, err := one(ctx, v)
		if err != nil {
			return b.told(v.site, err)
		}
		samples[v.site] = s
	}
	*into = append(*into, samples)
	return nil
}

// told adds what the server of a site said last.
func (b *bench) told(name string, err error) error {
	if said := b.sites[name].process.output.String(); said != "" {
		return fmt.Errorf("%s: %w\n%s said last:\n%s", name, err, b.sites[name].process.name, said)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func (b *bench) warmOne(ctx context.Context, v variant) (sample, error) {
	return b.measure(ctx, b.sites[v.site], load{
		ask: v.ask, sessions: b.visitors, connections: v.connections(), duration: b.duration,
	})
}

// coldOne asks once for each of as many sessions as there are visitors.
func (b *bench) coldOne(ctx context.Context, v variant) (s sample, err error) {
	return s, b.confirmed(v.site, func() error {
		strangers, err := b.newVisitors(ctx, len(b.visitors.ids))
		if err != nil {
			return err
		}
		visits := everyone(strangers)
		if b.smoke && v.cold.application == perSession && v.cold.trips == 0 {
			// each at the same time again, which must not ask the application again
			visits = slices.Concat(visits, visits)
			slices.Sort(visits)
		}
		l := load{ask: v.ask, sessions: strangers, connections: connections, visits: visits}
		measure := func() error {
			s, err = b.measure(ctx, b.sites[v.site], l)
			return err
		}
		if err := b.profiled(ctx, v, "new sessions", 1, measure); err != nil {
			return err
		}
		// what is measured as warm is with the visitors alone
		if err := b.redis.logOut(ctx, strangers.ids); err != nil {
			return err
		}
		return v.check("new sessions", l, s, v.cold)
	})
}

// confirmed tries again what counts wrong: on a machine that is too busy, a
// server may lose sight of Redis for a moment, and then drops its copies or
// refuses sessions that it cannot tell. What is wrong by itself stays wrong.
func (b *bench) confirmed(site string, count func() error) error {
	const tries = 3
	for try := 1; ; try++ {
		err := count()
		var wrong violation
		if !errors.As(err, &wrong) || try == tries {
			return err
		}
		b.say("once more: %v", b.told(site, err))
		time.Sleep(time.Second) // longer than a breaker stays open
		clear(b.warmed)
	}
}

// countOne warms up, and counts what requests of visitors cause then, and the
// system calls they need.
func (b *bench) countOne(ctx context.Context, v variant, calls map[string]float64) error {
	l := load{ask: v.ask, sessions: b.visitors, connections: 8, visits: b.visitors.visits[:countedVisits]}
	if v.ask.path == large {
		l.visits = l.visits[:20]
	}
	if v.warm.redis == perRequest {
		l.connections = 1 // each has to have a round trip of its own
	}
	if err := b.confirmed(v.site, func() error {
		if err := b.warm(ctx, v); err != nil {
			return err
		}
		s, err := b.measure(ctx, b.sites[v.site], l)
		if err != nil {
			return err
		}
		return v.check("known sessions", l, s, v.warm)
	}); err != nil {
		return err
	}
	if b.profiles != "" {
		if err := b.profile(ctx, v); err != nil {
			return err
		}
	}
	if !b.strace {
		return nil
	}
	n, err := straced(ctx, b.sites[v.site].process.pid(), func() error {
		_, err := b.measure(ctx, b.sites[v.site], l)
		return err
	})
	var wrong violation
	switch {
	case errors.As(err, &wrong), ctx.Err() != nil:
		return err
	case err != nil:
		b.say("missing: system calls: %v", err)
		b.strace = false
	default:
		calls[v.site] = float64(n) / float64(len(l.visits))
	}
	return nil
}

// available leaves out the variants that could not be started, and the bars
// over them, of which it tells.
func (b *bench) available(g group) (group, bool) {
	left := g
	left.variants, left.bars = nil, nil
	missing := make(map[string]bool)
	for _, v := range g.variants {
		if _, ok := b.sites[v.site]; ok {
			left.variants = append(left.variants, v)
		} else {
			missing[v.site] = true
		}
	}
	for _, bar := range g.bars {
		needs := ""
		bar.of(func(site string) float64 {
			if missing[site] && !strings.Contains(needs, site) {
				needs = site
			}
			return 1
		})
		if needs == "" {
			left.bars = append(left.bars, bar)
		} else {
			b.say("missing: %s, for: %s", needs, bar.work)
		}
	}
	return left, len(left.variants) > 0
}
