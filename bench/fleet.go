// The cost of other applications' writes, for Redis and for a node, in a growing
// fleet: in the mode that the plugin uses (CLIENT TRACKING BCAST), and in Redis'
// default mode, in which Redis remembers which connection has read which key.

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	// fleetRate is the rate of writes, per second.
	fleetRate = 20_000
	// ownSessions is the number of near copies of the measured node. No write
	// concerns them.
	ownSessions = 10_000
	// fleetRounds is the largest number of rounds; each starts hundreds of nodes.
	fleetRounds = 3
)

// fleet runs all measurements of fleets.
func (b *bench) fleet(ctx context.Context, r *results) error {
	for _, part := range []func(context.Context, *results) error{b.reports, b.trackedReads, b.trackingTable, b.idleNodes, b.sessionBytes} {
		if err := part(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// fleetSetup is a fleet, and the mode in which Redis reports writes to it.
type fleetSetup struct {
	name string
	// nodes is the size of the fleet. With broadcast, one of them is a real node;
	// the others are only connections.
	nodes int
	// readers is the number of nodes that have read each session that is written;
	// 0 means broadcast.
	readers int
	// atOnce is the number of writes in each pipeline.
	atOnce int
}

func (f fleetSetup) broadcast() bool { return f.readers == 0 }

// pipelined is the number of writes in the pipelines of some setups.
const pipelined = 100

// fleetSetups returns the setups, which are measured in turn. Those without nodes
// measure the writes themselves.
func (b *bench) fleetSetups() []fleetSetup {
	counts := []int{0, 1, 4, 16, 64, 256}
	if b.smoke {
		counts = []int{0, 1, 4}
	}
	most := counts[len(counts)-1]
	var all []fleetSetup
	for _, n := range counts {
		all = append(all, fleetSetup{"broadcast", n, 0, 1})
	}
	for _, n := range []int{0, most} {
		all = append(all, fleetSetup{"broadcast, 100 writes at once", n, 0, pipelined})
	}
	for _, n := range counts[2:] {
		all = append(all, fleetSetup{"default mode, 2 nodes have read each session", n, 2, 1})
	}
	all = append(all, fleetSetup{"default mode, all nodes have read each session", 4, 4, 1})
	if b.smoke {
		return all
	}
	return append(all, fleetSetup{"default mode, all nodes have read each session", 64, 64, 1})
}

// setupCost is the cost of one turn.
type setupCost struct {
	elapsed     time.Duration
	redis, node time.Duration // CPU time
	output      int64         // bytes that Redis sent, without the replies to the writes
	messages    float64       // push messages per node
}

// reports measures the cost of other applications' writes.
func (b *bench) reports(ctx context.Context, r *results) error {
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
	all := b.fleetSetups()
	rounds := make([][]setupCost, len(all))
	for range min(b.rounds, fleetRounds) {
		for i, f := range all {
			b.say("fleet: %s, %d nodes", f.name, f.nodes)
			p, err := b.writeToFleet(ctx, server, f, keys)
			if err != nil {
				return fmt.Errorf("%s, %d nodes: %w", f.name, f.nodes, err)
			}
			rounds[i] = append(rounds[i], p)
		}
	}
	if !b.smoke {
		r.grids = append(r.grids, reportGrid(all, rounds, len(keys)))
	}
	return nil
}

// writeToFleet starts a fleet, writes all keys, and waits until the fleet has the
// reports of them.
func (b *bench) writeToFleet(ctx context.Context, server *redisServer, f fleetSetup, keys []string) (p setupCost, err error) {
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
	if err := fleet.awaitReports(ctx, before, len(keys), b.smoke); err != nil {
		return p, err
	}
	after, err := fleet.count(ctx)
	if err != nil {
		return p, err
	}
	p.redis, p.node = after.redis-before.redis, after.node-before.node
	p.output = after.output - before.output - int64(len(keys)*len(okReply))
	if len(fleet.wires) > 0 {
		p.messages = float64(after.messages-before.messages) / float64(len(fleet.wires))
	}
	return p, nil
}

// fleet is a number of nodes: with broadcast, a real one, and connections that look
// to Redis like those of others.
type fleet struct {
	fleetSetup
	server  *redisServer
	node    *node   // the real node, or nil
	wires   []*wire // get the reports of writes
	readers []*wire // in the default mode, read the keys; one for each of wires
}

// startFleet starts the nodes and, in the default mode, lets them read the keys.
func (b *bench) startFleet(ctx context.Context, server *redisServer, f fleetSetup, keys []string) (fl *fleet, err error) {
	fl = &fleet{fleetSetup: f, server: server}
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
		go w.countPushes()
	}
	return fl, nil
}

// startReal starts the real node and lets it make near copies of its own sessions.
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
		if err := fl.node.lookUp(ctx, ownSessions); err != nil {
			return false, err
		}
		stats, err := fl.node.near(ctx)
		return stats.Entries >= ownSessions*9/10, err
	})
}

// trackedPrefixes are the prefixes that a node with lookups of sessions tracks.
var trackedPrefixes = []string{"fwb:canary:", "fwb:ended:", "fwb:tag:", sessionPrefix}

// simulate adds a connection like that of the i-th node. In the default mode, it
// reads its share of the keys, so that each key has the right number of readers.
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
		if (i-n%fl.nodes+fl.nodes)%fl.nodes < fl.fleetSetup.readers {
			own = append(own, key)
		}
	}
	return reader.readAll(own)
}

// end closes the connections and ends the real node.
func (fl *fleet) end() {
	for _, w := range append(fl.wires, fl.readers...) {
		_ = w.conn.Close()
	}
	if fl.node != nil {
		fl.node.process.end()
	}
}

// fleetCount are counters of a fleet: CPU times, bytes that Redis has sent, push
// messages and keys on the connections, and keys at the real node.
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

// awaitReports waits until all nodes have the reports of so many writes since an
// earlier count. With exactly, each write must be reported exactly once to each node
// concerned. Without, the real node may miss some: on an overloaded machine its
// tracker may begin anew, which also writes a canary.
func (fl *fleet) awaitReports(ctx context.Context, since fleetCount, writes int, exactly bool) error {
	each := len(fl.wires)
	if !fl.broadcast() {
		each = fl.fleetSetup.readers
	}
	want, atNode := int64(each*writes), int64(0)
	if fl.node != nil {
		if atNode = int64(writes); !exactly {
			atNode = atNode * 9 / 10
		}
	}
	var now fleetCount
	err := eventually(ctx, "all nodes have the reports of all writes", func() (_ bool, err error) {
		now, err = fl.count(ctx)
		return now.keys-since.keys >= want && now.atNode-since.atNode >= atNode, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %d of %d keys were reported to the connections, and %d of %d to the node", err, now.keys-since.keys, want, now.atNode-since.atNode, atNode)
	case exactly && (now.keys-since.keys != want || now.atNode-since.atNode != atNode):
		return violation{fmt.Sprintf("%d writes: %d keys were reported to %d connections, and %d to the node, want %d and %d",
			writes, now.keys-since.keys, len(fl.wires), now.atNode-since.atNode, want, atNode)}
	}
	return nil
}

// reportGrid makes the table of the cost of reports.
func reportGrid(all []fleetSetup, rounds [][]setupCost, writes int) grid {
	g := grid{header: []string{
		"foreign writes below the prefix, at most 20 000 a second", "nodes", "writes/s", "Redis, CPU of a core", "Redis, CPU µs per write",
		"Redis, CPU µs per key reported", "Redis, output bytes per key reported", "keys per message", "a node, CPU of a core", "a node, CPU µs per write",
	}}
	median := func(i int, of func(setupCost) float64) float64 {
		var values []float64
		for _, p := range rounds[i] {
			values = append(values, of(p))
		}
		return spreadOf(values).median
	}
	perWrite := func(p setupCost) float64 { return float64(p.redis.Microseconds()) / float64(writes) }
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
			fmt.Sprintf("%.0f", median(i, func(p setupCost) float64 { return float64(writes) / p.elapsed.Seconds() })),
			percent(median(i, func(p setupCost) float64 { return p.redis.Seconds() / p.elapsed.Seconds() })),
			fmt.Sprintf("%.1f", median(i, perWrite)), "–", "–", "–", "–", "–",
		}
		if f.nodes > 0 {
			row[5] = fmt.Sprintf("%.2f", (median(i, perWrite)-bare[f.atOnce])/reported)
			row[6] = fmt.Sprintf("%.0f", median(i, func(p setupCost) float64 { return float64(p.output) / float64(writes) / reported }))
		}
		if messages := median(i, func(p setupCost) float64 { return p.messages }); messages > 0 {
			row[7] = fmt.Sprintf("%.1f", float64(writes)*reported/float64(f.nodes)/messages)
		}
		if f.broadcast() && f.nodes > 0 {
			row[8] = percent(median(i, func(p setupCost) float64 { return p.node.Seconds() / p.elapsed.Seconds() }))
			row[9] = fmt.Sprintf("%.1f", median(i, func(p setupCost) float64 { return float64(p.node.Microseconds()) / float64(writes) }))
		}
		g.rows = append(g.rows, row)
	}
	return g
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
