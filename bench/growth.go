package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// growth is the cost of requests at several sizes of something.
type growth struct {
	what  string   // what grows
	sites []string // the first one is bare Caddy, to which the others are compared
	rows  []growthRow
}

type growthRow struct {
	label   string
	samples map[string][]sample // by site, one in each round
}

// cell is a load at one site, at one size.
type cell struct {
	site string
	at   site
	load load
}

// grow measures with growing numbers of connections, keys and routes, and growing
// records.
func (b *bench) grow(ctx context.Context, r *results) error {
	for _, grow := range []func(context.Context) (growth, error){b.growConnections, b.growKeys, b.growSizes, b.growRoutes} {
		g, err := grow(ctx)
		if err != nil {
			return err
		}
		r.growth = append(r.growth, g)
		if g.what == "keys" {
			r.findings = append(r.findings, amongKeys(g)...)
		}
	}
	return nil
}

// measureRow measures each cell in turn, round by round. With -smoke, it only checks
// the statuses.
func (b *bench) measureRow(ctx context.Context, label string, cells []cell) (growthRow, error) {
	row := growthRow{label, make(map[string][]sample)}
	for range b.rounds {
		for _, c := range cells {
			c.load.duration = b.duration
			if b.smoke {
				c.load.visits = c.load.sessions.visits[:countedVisits]
			}
			s, err := b.measure(ctx, c.at, c.load)
			if err != nil {
				return row, fmt.Errorf("%s, %s: %w", label, c.site, err)
			}
			row.samples[c.site] = append(row.samples[c.site], s)
		}
	}
	return row, nil
}

// growConnections measures 1 to 64 connections.
func (b *bench) growConnections(ctx context.Context) (growth, error) {
	g := growth{what: "connections", sites: []string{bareFiles, metadataFiles, nearOffFiles}}
	for _, v := range bySite(get(small), g.sites...) {
		if err := b.warm(ctx, v); err != nil {
			return g, err
		}
	}
	for _, n := range []int{1, 8, 64} {
		var cells []cell
		for _, name := range g.sites {
			cells = append(cells, cell{name, b.sites[name], load{template: get(small), sessions: b.visitors, connections: n}})
		}
		row, err := b.measureRow(ctx, fmt.Sprint(n), cells)
		if err != nil {
			return g, err
		}
		g.rows = append(g.rows, row)
	}
	return g, nil
}

// growKeys measures growing numbers of sessions, which are all in Redis and in the
// near cache and come equally often.
func (b *bench) growKeys(ctx context.Context) (growth, error) {
	g := growth{what: "keys", sites: []string{bareFiles, metadataFiles, nearOffFiles}}
	counts := []int{1000, 10_000, 100_000, 1_000_000}
	if b.smoke {
		counts = []int{1000}
	}
	for _, n := range counts {
		b.say("growth: %d keys", n)
		visitors, err := b.newVisitors(ctx, n)
		if err != nil {
			return g, err
		}
		visitors.evenly()
		if err := b.copyAll(ctx, visitors); err != nil {
			return g, err
		}
		var cells []cell
		for _, name := range g.sites {
			cells = append(cells, cell{name, b.sites[name], load{template: get(small), sessions: visitors, connections: connections}})
		}
		row, err := b.measureRow(ctx, fmt.Sprint(n), cells)
		if err != nil {
			return g, err
		}
		g.rows = append(g.rows, row)
	}
	return g, nil
}

// sizedVisitors is the number of sessions in growSizes.
const sizedVisitors = 16

// growSizes measures growing records, from near copies and from Redis. It uses few
// connections: with more, Redis could not send so many of the largest records within
// lookup_timeout.
func (b *bench) growSizes(ctx context.Context) (growth, error) {
	g := growth{what: fmt.Sprintf("bytes of a record, %d connections", few), sites: []string{bareFiles, metadataFiles, nearOffFiles}}
	sizes := []int{100, 10 << 10, 100 << 10, 1 << 20}
	if b.smoke {
		sizes = []int{100, 1 << 20}
	}
	for _, size := range sizes {
		b.say("growth: records of %d bytes", size)
		visitors, err := b.newVisitors(ctx, sizedVisitors)
		if err != nil {
			return g, err
		}
		visitors.evenly()
		if err := b.redis.enlarge(ctx, visitors.ids, size); err != nil {
			return g, err
		}
		if err := b.copyAll(ctx, visitors); err != nil {
			return g, err
		}
		var cells []cell
		for _, name := range g.sites {
			cells = append(cells, cell{name, b.sites[name], load{template: get(small), sessions: visitors, connections: few}})
		}
		row, err := b.measureRow(ctx, fmt.Sprint(size), cells)
		if err != nil {
			return g, err
		}
		g.rows = append(g.rows, row)
		if err := b.redis.logOut(ctx, visitors.ids); err != nil {
			return g, err
		}
	}
	return g, nil
}

// enlarge stores sessions with records of a given size, in bytes.
func (r *redisServer) enlarge(ctx context.Context, ids []string, size int) error {
	for _, id := range ids {
		const end = `"}`
		text := fmt.Sprintf(`{"user_id":%q,"padding":"`, id)
		text += strings.Repeat("x", max(0, size-len(text)-len(end))) + end
		if err := r.client.Set(ctx, sessionPrefix+id, text, 24*time.Hour).Err(); err != nil {
			return fmt.Errorf("storing large sessions: %w", err)
		}
	}
	return nil
}

// copyAll fills the near cache with all sessions, and checks that they are in it. Redis
// may still report their writes, which drops some copies again.
func (b *bench) copyAll(ctx context.Context, visitors *sessions) error {
	return b.retryViolations(metadataFiles, func() error {
		l := load{template: get(small), sessions: visitors, connections: connections, visits: eachOnce(visitors)}
		if _, err := b.measure(ctx, b.sites[metadataFiles], l); err != nil {
			return err
		}
		l.visits = visitors.visits[:countedVisits]
		s, err := b.measure(ctx, b.sites[metadataFiles], l)
		if err != nil {
			return err
		}
		return variant{site: metadataFiles}.check("known sessions", l, s, traffic{application: never, redis: never})
	})
}

// growRoutes measures growing numbers of routes with a lookup in each. Caddy tries
// their matchers in turn, so the last route is measured too, with the plugin and
// without.
func (b *bench) growRoutes(ctx context.Context) (growth, error) {
	g := growth{what: "routes", sites: []string{"routes", "routes with session_lookup"}}
	for _, n := range []int{1, 100, 1000} {
		row, last, err := b.routes(ctx, g.sites, n)
		if err != nil {
			return g, err
		}
		g.rows = append(g.rows, row)
		if n > 1 {
			g.rows = append(g.rows, last)
		}
	}
	return g, nil
}

// routes measures the first and the last of n routes.
func (b *bench) routes(ctx context.Context, names []string, n int) (first, last growthRow, err error) {
	s := &servers{processes: processes{dir: b.dir, workers: b.workers}, caddy: b.caddy, sites: make(map[string]site)}
	defer s.endAll()
	for i, lookup := range []string{"", "session_lookup {cookie.session}"} {
		options := ""
		if lookup != "" {
			options = b.nearOption()
		}
		if err := s.startCaddy(ctx, fmt.Sprint(names[i], " ", n), options, []route{{names[i], handles(n, lookup)}}); err != nil {
			return first, last, err
		}
	}
	cells := func(route int) []cell {
		var cells []cell
		for _, name := range names {
			ask := get(fmt.Sprintf("/r%d%s", route, small))
			cells = append(cells, cell{name, s.sites[name], load{template: ask, sessions: b.visitors, connections: connections}})
		}
		return cells
	}
	for _, c := range cells(0) {
		c.load.addr, c.load.visits = c.at.addr, eachOnce(b.visitors)
		if _, err := runClient(ctx, c.load); err != nil {
			return first, last, fmt.Errorf("warming up: %w", err)
		}
	}
	if first, err = b.measureRow(ctx, fmt.Sprintf("%d, the first is asked for", n), cells(0)); err != nil || n == 1 {
		return first, last, err
	}
	last, err = b.measureRow(ctx, fmt.Sprintf("%d, the last is asked for", n), cells(n-1))
	return first, last, err
}

// handles returns n routes, each with its own lookup. They serve no files, which would
// cost more than what is measured.
func handles(n int, lookup string) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "\thandle /r%d/* {\n\t\t%s\n\t\trespond 200\n\t}\n", i, lookup)
	}
	return text.String()
}
