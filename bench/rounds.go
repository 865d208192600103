package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// outcome is the result of a group.
type outcome struct {
	group
	warmRounds []map[string]sample // by site, in each round: requests of cached sessions
	coldRounds []map[string]sample // the same: one request for each of many new sessions
	calls      map[string]float64  // system calls per request by site, where they could be counted
}

// countedVisits is the number of requests of loads whose traffic is checked.
const countedVisits = 400

// run measures a group. Its variants take turns in each round, so that a brief
// disturbance of the machine affects all of them.
func (b *bench) run(ctx context.Context, g group) (o outcome, err error) {
	o = outcome{group: g, calls: make(map[string]float64)}
	for _, v := range g.variants {
		if g.coldOnly { // let the site cache the file, but no session of the group
			first := load{template: v.template, sessions: b.visitors, connections: 1, visits: b.visitors.visits[:1]}
			if _, err := b.measure(ctx, b.sites[v.site], first); err != nil {
				return o, b.withServerOutput(v.site, err)
			}
			continue
		}
		if err := b.countOne(ctx, v, o.calls); err != nil {
			return o, b.withServerOutput(v.site, err)
		}
	}
	for round := range b.rounds {
		b.say("%s, round %d of %d", g.name, round+1, b.rounds)
		if g.cold {
			if err := b.round(ctx, g, round, &o.coldRounds, b.coldOne); err != nil {
				return o, err
			}
		}
		if !b.smoke && !g.coldOnly {
			if err := b.round(ctx, g, round, &o.warmRounds, b.warmOne); err != nil {
				return o, err
			}
		}
	}
	return o, nil
}

// round gives each variant its turn. The first one changes from round to round.
func (b *bench) round(ctx context.Context, g group, round int, into *[]map[string]sample,
	one func(context.Context, variant) (sample, error),
) error {
	samples := make(map[string]sample)
	for i := range g.variants {
		v := g.variants[(i+round)%len(g.variants)]
		s, err := one(ctx, v)
		if err != nil {
			return b.withServerOutput(v.site, err)
		}
		samples[v.site] = s
	}
	*into = append(*into, samples)
	return nil
}

// withServerOutput adds the last output of a site's server to an error.
func (b *bench) withServerOutput(name string, err error) error {
	if output := b.sites[name].process.output.String(); output != "" {
		return fmt.Errorf("%s: %w\nlast output of %s:\n%s", name, err, b.sites[name].process.name, output)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// warmOne measures requests of cached sessions.
func (b *bench) warmOne(ctx context.Context, v variant) (sample, error) {
	return b.measure(ctx, b.sites[v.site], load{
		template: v.template, sessions: b.visitors, connections: v.connections(), duration: b.duration,
	})
}

// coldOne measures one request for each of as many new sessions as there are
// visitors.
func (b *bench) coldOne(ctx context.Context, v variant) (s sample, err error) {
	return s, b.retryViolations(v.site, func() error {
		fresh, err := b.newVisitors(ctx, len(b.visitors.ids))
		if err != nil {
			return err
		}
		visits := eachOnce(fresh)
		if b.smoke && v.cold.application == perSession && v.cold.trips == 0 {
			// two requests for each session at the same time must cause one request to
			// the application
			visits = slices.Concat(visits, visits)
			slices.Sort(visits)
		}
		l := load{template: v.template, sessions: fresh, connections: connections, visits: visits}
		measure := func() error {
			s, err = b.measure(ctx, b.sites[v.site], l)
			return err
		}
		if err := b.profiled(ctx, v, "new sessions", 1, measure); err != nil {
			return err
		}
		// leave only the visitors in Redis and in near copies
		if err := b.redis.logOut(ctx, fresh.ids); err != nil {
			return err
		}
		return v.check("new sessions", l, s, v.cold)
	})
}

// retryViolations repeats a count that was wrong, up to three times: on an
// overloaded machine a server may lose its connection to Redis for a moment, and
// then drops its near copies or refuses sessions. A fault of the plugin fails all
// tries.
func (b *bench) retryViolations(site string, count func() error) error {
	const tries = 3
	for try := 1; ; try++ {
		err := count()
		var wrong violation
		if !errors.As(err, &wrong) || try == tries {
			return err
		}
		b.say("trying again: %v", b.withServerOutput(site, err))
		time.Sleep(time.Second) // the circuit breaker is open for less than that
		clear(b.warmed)
	}
}

// countOne lets a site cache the visitors, and then checks the traffic of their
// requests and counts the system calls.
func (b *bench) countOne(ctx context.Context, v variant, calls map[string]float64) error {
	l := load{template: v.template, sessions: b.visitors, connections: 8, visits: b.visitors.visits[:countedVisits]}
	if v.template.path == large {
		l.visits = l.visits[:20]
	}
	if v.warm.redis == perRequest {
		l.connections = 1 // concurrent lookups would share round trips
	}
	if err := b.retryViolations(v.site, func() error {
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

// available removes the variants whose sites could not be started, and the bars
// that need them. It reports the bars on standard error.
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
			b.say("missing: %s; not compared: %s", needs, bar.work)
		}
	}
	return left, len(left.variants) > 0
}
