// What the writes of others cost Redis and a node, while the fleet grows: as it is
// (CLIENT TRACKING in BCAST mode), and with Redis' default mode, in which Redis
// remembers which connection has read which key.

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	// fleetRate is how many writes there are in a second.
	fleetRate = 20_000
	// ownSessions is how many near copies the measured node has. None of them is
	// written.
	ownSessions = 10_000
	// fleetRounds is the largest number of rounds: each starts hundreds of nodes.
	fleetRounds = 3
)

// fleet measures everything that grows with the number of nodes.
func (b *bench) fleet(ctx context.Context, r *results) error {
	for _, part := range []func(context.Context, *results) error{b.pushes, b.trackedReads, b.trackingTable, b.calm, b.sessionBytes} {
		if err := part(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// following is a way of hearing of writes.
type following struct {
	name string
	// nodes in the fleet; with broadcast, one of them is a real one.
	nodes int
	// readers is how many of the nodes have read each session that is written; 0
	// means broadcast.
	readers int
	// atOnce is how many writes arrive together.
	atOnce int
}

func (f following) broadcast() bool { return f.readers == 0 }

// pipelined is how many writes of a pipeline there are.
const pipelined = 100

// followings are measured in turn. Those without nodes are what Redis needs for
// the writes themselves.
func (b *bench) followings() []following {
	counts := []int{0, 1, 4, 16, 64, 256}
	if b.smoke {
		counts = []int{0, 1, 4}
	}
	most := counts[len(counts)-1]
	var all []following
	for _, n := range counts {
		all = append(all, following{"broadcast", n, 0, 1})
	}
	for _, n := range []int{0, most} {
		all = append(all, following{"broadcast, 100 writes at once", n, 0, pipelined})
	}
	for _, n := range counts[2:] {
		all = append(all, following{"default mode, 2 nodes have read each session", n, 2, 1})
	}
	all = append(all, following{"default mode, all nodes have read each session", 4, 4, 1})
	if b.smoke {
		return all
	}
	return append(all, following{"default mode, all nodes have read each session", 64, 64, 1})
}

// pushed is what one turn came to.
type pushed struct {
	elapsed     time.Duration
	redis, node time.Duration // on the CPU
	output      int64         // bytes that Redis sent, but for the replies to the writes
	messages    float64       // that each node got
}

// pushes measures what foreign writes cost.
func (b *bench) pushes(ctx context.Context, r *results) error {
	server, err := b.startRedis(ctx)
	if err != nil {
		return err
	}
	defer server.end()
	keys := make([]string, fleetRate*int(max(b.duration, time.Second)/time.Second))
	if b.smoke {
		keys = keys[:500]
	}
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%032d", sessionPrefix, i)
	}
	all := b.followings()
	rounds := make([][]pushed, len(all))
	for range min(b.rounds, fleetRounds) {
		for i, f := range all {
			b.say("fleet: %s, %d nodes", f.name, f.nodes)
			p, err := b.follow(ctx, server, f, keys)
			if err != nil {
				return fmt.Errorf("%s, %d nodes: %w", f.name, f.nodes, err)
			}
			rounds[i] = append(rounds[i], p)
		}
	}
	if !b.smoke {
		r.grids = append(r.grids, pushGrid(all, rounds, len(keys)))
	}
	return nil
}

// follow lets a fleet follow the writes of all keys.
func (b *bench) follow(ctx context.Context, server *redisServer, f following, keys []string) (p pushed, err error) {
	if err := server.client.FlushAll(ctx).Err(); err != nil {
		return p, err
	}
	fleet, err := b.startFleet(ctx, server, f, keys)
	if err != nil {
		return p, err
	}
	defer fleet.end()
	w, err := server.newWriter(ctx)
	if err != nil {
		return p, err
	}
	defer w.close()
	before, err := fleet.count(ctx)
	if err != nil {
		return p, err
	}
	p.elapsed, err = w.run(ctx, writes{keys: keys, rate: fleetRate, atOnce: f.atOnce, value: sessionRecord("0123456789abcdef0123456789abcdef")})
	if err != nil {
		return p, err
	}
	if err := fleet.heard(ctx, before, len(keys), b.smoke); err != nil {
		return p, err
	}
	after, err := fleet.count(ctx)
	if err != nil {
		return p, err
	}
	p.redis, p.node = after.redis-before.redis, after.node-before.node
	p.output = after.output - before.output - int64(len(keys)*len(okay))
	if len(fleet.wires) > 0 {
		p.messages = float64(after.messages-before.messages) / float64(len(fleet.wires))
	}
	return p, nil
}

// fleet is a number of nodes: a real one, unless there is none, and connections
// that look like those of others to Redis.
type fleet struct {
	following
	server  *redisServer
	node    *node   // or nil
	wires   []*wire // that are told of writes
	readers []*wire // in the default mode, one beside each of them
}

// startFleet starts the nodes, and lets them read what they do.
func (b *bench) startFleet(ctx context.Context, server *redisServer, f following, keys []string) (fl *fleet, err error) {
	fl = &fleet{following: f, server: server}
	defer func() {
		if err != nil {
			fl.end()
		}
	}()
	simulated := f.nodes
	if f.broadcast() && f.nodes > 0 {
		simulated--
		if err := fl.startReal(ctx, b); err != nil {
			return fl, err
		}
	}
	for i := range simulated {
		if err := fl.simulate(ctx, i, keys); err != nil {
			return fl, err
		}
	}
	for _, w := range fl.wires {
		w.pushes.Store(0)
		w.keys.Store(0)
		go w.follow()
	}
	return fl, nil
}

// startReal starts the measured node and gives it its own sessions.
func (fl *fleet) startReal(ctx context.Context, b *bench) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	ids := make([]string, ownSessions)
	for i := range ids {
		ids[i] = strings.TrimPrefix(ownSession(i), sessionPrefix)
	}
	if err := fl.server.logIn(ctx, ids); err != nil {
		return err
	}
	if fl.node, err = b.startNode(ctx, self, fl.server); err != nil {
		return err
	}
	return eventually(ctx, "a node has copies of its sessions", func() (bool, error) {
		if err := fl.node.look(ctx, ownSessions); err != nil {
			return false, err
		}
		stats, err := fl.node.near(ctx)
		return stats.Entries >= ownSessions*9/10, err
	})
}

// trackedPrefixes are those that a node with lookups of sessions tracks.
var trackedPrefixes = []string{"fwb:canary:", "fwb:ended:", "fwb:tag:", sessionPrefix}

// simulate adds a node. The readers-th part of each key's nodes read it.
func (fl *fleet) simulate(ctx context.Context, i int, keys []string) error {
	tracking := []string{"CLIENT", "TRACKING", "ON", "BCAST"}
	for _, prefix := range trackedPrefixes {
		tracking = append(tracking, "PREFIX", prefix)
	}
	if !fl.broadcast() {
		tracking = []string{"CLIENT", "ID"}
	}
	w, err := fl.server.wire(ctx, []string{"HELLO", "3"}, tracking)
	if err != nil {
		return err
	}
	fl.wires = append(fl.wires, w)
	if fl.broadcast() {
		return nil
	}
	reader, err := fl.server.wire(ctx, []string{"CLIENT", "TRACKING", "ON", "REDIRECT", fmt.Sprint(w.number)})
	if err != nil {
		return err
	}
	fl.readers = append(fl.readers, reader)
	var own []string
	for n, key := range keys {
		if (i-n%fl.nodes+fl.nodes)%fl.nodes < fl.following.readers {
			own = append(own, key)
		}
	}
	return reader.readAll(own)
}

func (fl *fleet) end() {
	for _, w := range append(fl.wires, fl.readers...) {
		_ = w.conn.Close()
	}
	if fl.node != nil {
		fl.node.process.end()
	}
}

// fleetCount is what was counted up to now.
type fleetCount struct {
	redis, node            time.Duration
	output                 int64
	messages, keys, atNode int64
}

func (fl *fleet) count(ctx context.Context) (c fleetCount, err error) {
	if c.redis, err = fl.server.cpu(ctx); err != nil {
		return c, err
	}
	if c.output, err = fl.server.number(ctx, "stats", "total_net_output_bytes"); err != nil {
		return c, err
	}
	for _, w := range fl.wires {
		c.messages += w.pushes.Load()
		c.keys += w.keys.Load()
	}
	if fl.node == nil {
		return c, nil
	}
	if c.node, err = cpuTime(fl.node.process.pid()); err != nil {
		return c, err
	}
	stats, err := fl.node.near(ctx)
	c.atNode = int64(stats.Invalidations)
	return c, err
}

// heard waits until all nodes know of so many writes since then. exactly checks
// that each write was reported once to each node that is to hear of it; on an
// overloaded machine the tracker of the real node may begin anew, which misses
// some and writes a canary.
func (fl *fleet) heard(ctx context.Context, since fleetCount, writes int, exactly bool) error {
	each := len(fl.wires)
	if !fl.broadcast() {
		each = fl.following.readers
	}
	want, atNode := int64(each*writes), int64(0)
	if fl.node != nil {
		if atNode = int64(writes); !exactly {
			atNode = atNode * 9 / 10
		}
	}
	var now fleetCount
	err := eventually(ctx, "all nodes hear of all writes", func() (_ bool, err error) {
		now, err = fl.count(ctx)
		return now.keys-since.keys >= want && now.atNode-since.atNode >= atNode, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: of %d and %d keys, %d and %d were reported", err, want, atNode, now.keys-since.keys, now.atNode-since.atNode)
	case exactly && (now.keys-since.keys != want || now.atNode-since.atNode != atNode):
		return violation{fmt.Sprintf("%d writes: %d keys were reported to %d connections, and %d to a node, not %d and %d",
			writes, now.keys-since.keys, len(fl.wires), now.atNode-since.atNode, want, atNode)}
	}
	return nil
}

// pushGrid is the table of pushes.
func pushGrid(all []following, rounds [][]pushed, writes int) grid {
	g := grid{header: []string{
		"foreign writes below the prefix, at most 20 000 a second", "nodes", "writes/s", "Redis, CPU of a core", "Redis, CPU µs per write",
		"Redis, CPU µs per key reported", "Redis, output bytes per key reported", "keys per message", "a node, CPU of a core", "a node, CPU µs per write",
	}}
	median := func(i int, of func(pushed) float64) float64 {
		var values []float64
		for _, p := range rounds[i] {
			values = append(values, of(p))
		}
		return spreadOf(values).median
	}
	perWrite := func(p pushed) float64 { return float64(p.redis.Microseconds()) / float64(writes) }
	bare := make(map[int]float64) // by the number of writes at once
	for i, f := range all {
		if f.nodes == 0 {
			bare[f.atOnce] = median(i, perWrite)
		}
		reported := float64(f.nodes)
		if !f.broadcast() {
			reported = float64(f.readers)
		}
		row := []string{
			f.name, fmt.Sprint(f.nodes),
			fmt.Sprintf("%.0f", median(i, func(p pushed) float64 { return float64(writes) / p.elapsed.Seconds() })),
			percent(median(i, func(p pushed) float64 { return p.redis.Seconds() / p.elapsed.Seconds() })),
			fmt.Sprintf("%.1f", median(i, perWrite)), "–", "–", "–", "–", "–",
		}
		if f.nodes > 0 {
			row[5] = fmt.Sprintf("%.2f", (median(i, perWrite)-bare[f.atOnce])/reported)
			row[6] = fmt.Sprintf("%.0f", median(i, func(p pushed) float64 { return float64(p.output) / float64(writes) / reported }))
		}
		if messages := median(i, func(p pushed) float64 { return p.messages }); messages > 0 {
			row[7] = fmt.Sprintf("%.1f", float64(writes)*reported/float64(f.nodes)/messages)
		}
		if f.broadcast() && f.nodes > 0 {
			row[8] = percent(median(i, func(p pushed) float64 { return p.node.Seconds() / p.elapsed.Seconds() }))
			row[9] = fmt.Sprintf("%.1f", median(i, func(p pushed) float64 { return float64(p.node.Microseconds()) / float64(writes) }))
		}
		g.rows = append(g.rows, row)
	}
	return g
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
