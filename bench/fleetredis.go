// The cost of a fleet for Redis apart from writes: memory, connections, and the
// checks of trackers.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// numbers returns the sum of some numbers in a section of INFO.
func (r *redisServer) numbers(ctx context.Context, section string, names ...string) (sum float64, err error) {
	info, err := r.client.Info(ctx, section).Result()
	if err != nil {
		return 0, fmt.Errorf("reading INFO %s: %w", section, err)
	}
	found := 0
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if !slices.Contains(names, name) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s in INFO: %w", name, err)
		}
		sum += n
		found++
	}
	if found < len(names) {
		return 0, fmt.Errorf("INFO does not have %s", strings.Join(names, " and "))
	}
	return sum, nil
}

// number returns a number in a section of INFO.
func (r *redisServer) number(ctx context.Context, section, name string) (int64, error) {
	n, err := r.numbers(ctx, section, name)
	return int64(n), err
}

// cpu returns the CPU time of Redis, which INFO has in microseconds; /proc counts in
// units of 10 ms.
func (r *redisServer) cpu(ctx context.Context) (time.Duration, error) {
	seconds, err := r.numbers(ctx, "cpu", "used_cpu_sys", "used_cpu_user")
	return time.Duration(seconds * float64(time.Second)), err
}

// memory returns the memory that Redis uses, in bytes, once it no longer changes.
func (r *redisServer) memory(ctx context.Context) (used int64, err error) {
	same := 0
	err = eventually(ctx, "the memory of Redis no longer changes", func() (bool, error) {
		now, err := r.number(ctx, "memory", "used_memory")
		if diff := now - used; diff > -4096 && diff < 4096 {
			same++
		} else {
			same = 0
		}
		used = now
		return same > 30, err
	})
	return used, err
}

// trackedKeys returns keys of n sessions that no connection has read.
func trackedKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%032d", sessionPrefix, i)
	}
	return keys
}

// trackedReads measures the CPU time of a read that Redis has to remember.
func (b *bench) trackedReads(ctx context.Context, r *results) error {
	if b.smoke {
		return nil
	}
	server, err := b.startRedis(ctx)
	if err != nil {
		return err
	}
	defer server.end()
	const n = 100_000
	keys := trackedKeys(n)
	names := []string{"GET", "GET over a tracked connection, the first of each key", "the same again"}
	costs := make([][]float64, len(names))
	for range b.rounds {
		plain, err := server.wire(ctx)
		if err != nil {
			return err
		}
		tracked, err := server.wire(ctx, []string{"HELLO", "3"}, []string{"CLIENT", "TRACKING", "ON"})
		if err != nil {
			return errors.Join(err, plain.conn.Close())
		}
		for i, w := range []*wire{plain, tracked, tracked} {
			cost, err := server.costOfReads(ctx, w, keys)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], cost)
		}
		if err := errors.Join(plain.conn.Close(), tracked.conn.Close()); err != nil {
			return err
		}
	}
	for i, name := range names {
		s := spreadOf(costs[i])
		r.findings = append(r.findings, finding{work: "Redis, CPU of " + name + ", 200 at a time", result: s.String() + " µs"})
	}
	return nil
}

// costOfReads returns the CPU time of Redis for each read, in microseconds.
func (r *redisServer) costOfReads(ctx context.Context, w *wire, keys []string) (float64, error) {
	before, err := r.cpu(ctx)
	if err != nil {
		return 0, err
	}
	if err := w.readAll(keys); err != nil {
		return 0, err
	}
	after, err := r.cpu(ctx)
	return float64((after - before).Microseconds()) / float64(len(keys)), err
}

// trackingTable measures the memory of Redis' tracking table, which the default mode
// needs, and the reports that a full table causes.
func (b *bench) trackingTable(ctx context.Context, r *results) error {
	if b.smoke {
		return nil
	}
	server, err := b.startRedis(ctx)
	if err != nil {
		return err
	}
	defer server.end()
	const n = 100_000
	keys := trackedKeys(n)
	before, err := server.memory(ctx)
	if err != nil {
		return err
	}
	var wires []*wire
	defer func() {
		for _, w := range wires {
			_ = w.conn.Close()
		}
	}()
	for _, clients := range []int{1, 2, 4, 16, 64} {
		for len(wires) < clients {
			w, err := server.wire(ctx, []string{"HELLO", "3"}, []string{"CLIENT", "TRACKING", "ON"})
			if err != nil {
				return err
			}
			wires = append(wires, w)
			if err := w.readAll(keys); err != nil {
				return err
			}
		}
		used, err := server.memory(ctx)
		if err != nil {
			return err
		}
		r.findings = append(r.findings, finding{
			work:   fmt.Sprintf("tracking table of Redis' default mode, each key read by %d connections", clients),
			result: fmt.Sprintf("%.0f bytes per key of %d bytes", float64(used-before)/n, len(keys[0])),
		})
	}
	return b.overflow(ctx, server, r)
}

// overflow reads twice as many keys as the tracking table may have.
func (b *bench) overflow(ctx context.Context, server *redisServer, r *results) error {
	const limit = 50_000
	if err := server.client.FlushAll(ctx).Err(); err != nil {
		return err
	}
	if err := server.client.ConfigSet(ctx, "tracking-table-max-keys", strconv.Itoa(limit)).Err(); err != nil {
		return err
	}
	w, err := server.wire(ctx, []string{"HELLO", "3"}, []string{"CLIENT", "TRACKING", "ON"})
	if err != nil {
		return err
	}
	defer w.conn.Close()
	keys := make([]string, 2*limit)
	for i := range keys {
		keys[i] = fmt.Sprintf("%sfull-%032d", sessionPrefix, i)
	}
	if err := w.readAll(keys); err != nil {
		return err
	}
	err = eventually(ctx, "the tracking table shrinks to its limit", func() (bool, error) {
		if err := w.do([]string{"PING"}); err != nil {
			return false, err
		}
		tracked, err := server.number(ctx, "stats", "tracking_total_keys")
		return tracked <= limit, err
	})
	if err != nil {
		return err
	}
	r.findings = append(r.findings, finding{
		work:   fmt.Sprintf("%d reads of other keys with tracking-table-max-keys %d: keys that Redis reports although they were not written", len(keys), limit),
		result: fmt.Sprint(w.keys.Load()),
	})
	return nil
}

// idleNodes measures nodes without requests: their trackers check their connections,
// and dial the address of the server now and then.
func (b *bench) idleNodes(ctx context.Context, r *results) error {
	nodes, period := 64, 3*b.duration
	if b.smoke {
		nodes, period = 2, 0
	}
	server, err := b.startRedis(ctx)
	if err != nil {
		return err
	}
	defer server.end()
	alone, err := server.usageOver(ctx, period)
	if err != nil {
		return err
	}
	var caches []*cache.Cache
	defer func() {
		for _, c := range caches {
			_ = c.Close()
		}
	}()
	for range nodes {
		c, _, err := openNode(server.addr, cache.LookupOptions{})
		if err != nil {
			return err
		}
		caches = append(caches, c)
	}
	for _, c := range caches {
		if err := eventually(ctx, "near copies are coherent", func() (bool, error) { return c.Near().Coherent, nil }); err != nil {
			return err
		}
	}
	followed, err := server.usageOver(ctx, period)
	if err != nil || b.smoke {
		return err
	}
	each := func(figure func(usage) float64) float64 { return (figure(followed) - figure(alone)) / float64(nodes) }
	r.findings = append(r.findings,
		finding{work: "Redis, CPU for an idle node", result: fmt.Sprintf("%.0f µs a second", each(func(s usage) float64 { return s.cpu })*1e6)},
		finding{work: "Redis, output to an idle node", result: fmt.Sprintf("%.0f bytes a second", each(func(s usage) float64 { return s.output }))},
		finding{work: "connections of an idle node, on average", result: fmt.Sprintf("%.1f", each(func(s usage) float64 { return s.connections }))},
		finding{work: "memory of Redis for an idle node", result: fmt.Sprintf("%.0f KiB", each(func(s usage) float64 { return s.memory })/1024)})
	return b.busyNode(ctx, server, r)
}

// usage is what Redis uses: CPU time (as a share of a core) and output (bytes) in a
// second, and connections and memory (bytes) at the end of a period.
type usage struct{ cpu, output, connections, memory float64 }

// usageOver measures Redis for a period.
func (r *redisServer) usageOver(ctx context.Context, period time.Duration) (s usage, err error) {
	count := func() (cpu, output float64, err error) {
		if cpu, err = r.numbers(ctx, "cpu", "used_cpu_sys", "used_cpu_user"); err != nil {
			return 0, 0, err
		}
		output, err = r.numbers(ctx, "stats", "total_net_output_bytes")
		return cpu, output, err
	}
	cpu, output, err := count()
	if err != nil {
		return s, err
	}
	select {
	case <-ctx.Done():
		return s, ctx.Err()
	case <-time.After(period):
	}
	if s.cpu, s.output, err = count(); err != nil {
		return s, err
	}
	s.cpu, s.output = (s.cpu-cpu)/period.Seconds(), (s.output-output)/period.Seconds()
	if s.connections, err = r.numbers(ctx, "clients", "connected_clients"); err != nil {
		return s, err
	}
	s.memory, err = r.numbers(ctx, "memory", "used_memory")
	return s, err
}

// busyNode counts the connections of a node after many lookups at the same time.
func (b *bench) busyNode(ctx context.Context, server *redisServer, r *results) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	before, err := server.number(ctx, "clients", "connected_clients")
	if err != nil {
		return err
	}
	n, err := b.startNode(ctx, self, server)
	if err != nil {
		return err
	}
	defer n.process.end()
	if err := n.lookUp(ctx, 1000); err != nil {
		return err
	}
	after, err := server.number(ctx, "clients", "connected_clients")
	if err != nil {
		return err
	}
	r.findings = append(r.findings, finding{
		work: "connections of a node after 1000 lookups at the same time, pool_size 10", result: fmt.Sprint(after - before),
	})
	return nil
}

// anySession is a source that has a record for each identity.
type anySession struct{}

func (*anySession) Name() string { return "http" }

func (*anySession) Load(_ context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
	record, err := cache.Decode(sessionRecord(req.ID), cache.DefaultMaxValueSize)
	return cache.Loaded{Record: record}, err
}

// sessionBytes measures the memory of Redis for a session, with its key and the
// entries in the tables of keys and of expiry times.
func (b *bench) sessionBytes(ctx context.Context, r *results) error {
	const n = 25_000 // fills the hash tables to the same share as 10^8
	if b.smoke {
		return nil
	}
	id := func(i int) string { return fmt.Sprintf("%032d", i) }
	tags := func(req cache.Request, _ *cache.Record) []string { return []string{"user:" + req.ID} }
	for _, work := range []struct {
		name    string
		options *cache.LookupOptions
	}{
		{"written by the application", nil},
		{"from a source", &cache.LookupOptions{Source: new(anySession), SourceID: "0123456789abcdef", MaxConcurrent: n}},
		{"from a source, with a tag of its own", &cache.LookupOptions{Source: new(anySession), SourceID: "0123456789abcdef", Tags: tags, MaxConcurrent: n}},
	} {
		server, err := b.startRedis(ctx)
		if err != nil {
			return err
		}
		bytes, err := server.bytesOf(ctx, n, work.options, id)
		server.end()
		if err != nil {
			return err
		}
		r.findings = append(r.findings, finding{
			work:   fmt.Sprintf("memory of Redis per session %s: JSON of %d bytes, key of %d", work.name, len(sessionRecord(id(0))), len(sessionPrefix+id(0))),
			result: fmt.Sprintf("%.0f bytes", bytes),
		})
	}
	return nil
}

// bytesOf stores n sessions, through a lookup if options are not nil, and returns the
// bytes of memory for each.
func (r *redisServer) bytesOf(ctx context.Context, n int, options *cache.LookupOptions, id func(int) string) (float64, error) {
	before, err := r.memory(ctx)
	if err != nil {
		return 0, err
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = id(i)
	}
	if options == nil {
		err = r.logIn(ctx, ids)
	} else {
		err = r.fillAll(ctx, ids, *options)
	}
	if err != nil {
		return 0, err
	}
	after, err := r.memory(ctx)
	return float64(after-before) / float64(n), err
}

// fillAll looks up all sessions, 32 at a time, and then closes its connections, so
// that their memory is not counted.
func (r *redisServer) fillAll(ctx context.Context, ids []string, options cache.LookupOptions) error {
	c, lookup, err := openNode(r.addr, options)
	if err != nil {
		return err
	}
	found := make(chan bool)
	const workers = 32
	for w := range workers {
		go func() {
			ok := true
			for i := w; i < len(ids); i += workers {
				result := lookup.Find(ctx, cache.Request{Key: sessionPrefix + ids[i], ID: ids[i]})
				ok = ok && result.OK()
			}
			found <- ok
		}()
	}
	all := true
	for range workers {
		all = <-found && all
	}
	if !all {
		err = violation{"a session was not found"}
	}
	return errors.Join(err, c.Close())
}
