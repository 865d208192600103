package faults

import (
	"slices"
	"testing"
	"time"
)

func TestFaults(t *testing.T) {
	var scenarios []scenario
	for _, r := range slices.Concat(table, topologies) {
		scenarios = append(scenarios, scenario{r.name, r.long, r.run})
	}
	runAll(t, scenarios)
}

// reconnects is how many connections a node may ask for in a second while
// Redis refuses it: one to try commands and one for reports of writes, each
// with some jitter.
const reconnects = 4

var table = []row{
	{
		name:   "nothing is broken",
		inject: func(*fleet) func() { return func() {} },
		lasts:  2 * time.Second, stale: healthBound, recovery: time.Second, calm: true,
	},
	{
		name:   "a node is paused for 1.5 s",
		inject: func(f *fleet) func() { return pauseOne(f, 0) },
		lasts:  1500 * time.Millisecond, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name:   "a node is paused for 1.5 s, and its network for 1.8 s",
		inject: func(f *fleet) func() { return pauseOne(f, 300*time.Millisecond) },
		lasts:  1500 * time.Millisecond, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name: "nodes reload under load",
		inject: func(f *fleet) func() {
			return f.repeat(100*time.Millisecond, func(n int) {
				i := n % len(f.nodes)
				f.nodes[i].reload(f.t, f.option(i), f.routes()+"\n\trespond /version "+itoa(n))
			})
		},
		lasts: 2 * time.Second, stale: healthBound, recovery: time.Second, calm: true,
	},

	// the network
	{
		name: "the link of a tracker lags",
		inject: func(f *fleet) func() {
			f.nodes[0].proxy.rate.Store(25 << 10)
			stop := f.foreignWrites(2000)
			return func() {
				stop()
				f.nodes[0].proxy.rate.Store(0)
			}
		},
		lasts: 3500 * time.Millisecond, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name: "reports of writes are later and later",
		inject: func(f *fleet) func() {
			stop := f.repeat(50*time.Millisecond, func(n int) {
				f.nodes[0].proxy.lag.Store(int64(n) * int64(25*time.Millisecond))
			})
			return func() {
				stop()
				f.nodes[0].proxy.lag.Store(0)
			}
		},
		lasts: 3500 * time.Millisecond, stale: time.Second, recovery: 4 * time.Second,
	},
	{
		name: "everything takes 60 ms more",
		inject: func(f *fleet) func() {
			f.each(func(p *proxy) { p.delay.Store(int64(30 * time.Millisecond)) })
			return func() { f.each(func(p *proxy) { p.delay.Store(0) }) }
		},
		lasts: 2 * time.Second, stale: time.Second, recovery: time.Second, calm: true,
	},
	{
		name: "the network flaps: 0.3 s of each 1.5 s",
		inject: func(f *fleet) func() {
			stop := f.repeat(100*time.Millisecond, func(n int) {
				switch n % 15 {
				case 0:
					f.each((*proxy).goAway)
				case 3:
					f.each((*proxy).comeBack)
				}
			})
			return func() {
				stop()
				f.each((*proxy).comeBack)
			}
		},
		lasts: 4500 * time.Millisecond, stale: time.Second, recovery: 2 * time.Second, failing: 0.4,
	},
	{
		name: "Redis is unreachable",
		inject: func(f *fleet) func() {
			f.each((*proxy).goAway)
			return func() { f.each((*proxy).comeBack) }
		},
		lasts: 2 * time.Second, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name: "connections die silently",
		inject: func(f *fleet) func() {
			f.each((*proxy).silence)
			return func() {}
		},
		lasts: time.Second, stale: time.Second, recovery: time.Second,
	},
	{
		name:  "a pool of 50 connections dies silently",
		setup: setup{options: "\t\t\tpool_size 50\n\t\t\tmin_idle_conns 50"},
		inject: func(f *fleet) func() {
			f.each((*proxy).silence)
			return func() {}
		},
		lasts: time.Second, stale: time.Second, recovery: time.Second,
	},
	{
		name: "connections die silently, and new ones too",
		inject: func(f *fleet) func() {
			f.each((*proxy).silence)
			f.each((*proxy).dropNew)
			return func() { f.each((*proxy).comeBack) }
		},
		lasts: 2 * time.Second, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name: "the connections of trackers are lost again and again",
		inject: func(f *fleet) func() {
			return f.repeat(100*time.Millisecond, func(int) {
				f.each(func(p *proxy) { p.cut(isTracker) })
			})
		},
		lasts: 2 * time.Second, stale: time.Second, recovery: 2 * time.Second, calm: true,
	},
	{
		name: "connections end in the middle of answers",
		inject: func(f *fleet) func() {
			f.each(func(p *proxy) { p.ends.Store(20) })
			return func() { f.each(func(p *proxy) { p.ends.Store(0) }) }
		},
		lasts: 2 * time.Second, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name:   "the address leads to a web server",
		inject: leadToTheWeb,
		lasts:  1500 * time.Millisecond, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name:   "the address leads to another server",
		inject: leadElsewhere,
		lasts:  3 * time.Second, stale: time.Second, recovery: 2 * time.Second,
	},

	// Redis
	{
		name: "Redis is full and the trackers are new",
		inject: func(f *fleet) func() {
			f.do("CONFIG", "SET", "maxmemory", "1")
			f.each(func(p *proxy) { p.cut(nil) })
			return func() { f.do("CONFIG", "SET", "maxmemory", "0") }
		},
		during: nearAgain, lasts: time.Second, stale: time.Second, recovery: time.Second,
	},
	{
		name: "Redis cannot save, refuses writes, and the trackers are new",
		inject: func(f *fleet) func() {
			mend := f.breakSaves()
			f.each(func(p *proxy) { p.cut(nil) })
			return mend
		},
		during: nearAgain, lasts: time.Second, stale: time.Second, recovery: time.Second,
	},
	{
		name:   "a script keeps Redis busy",
		setup:  setup{args: []string{"--lua-time-limit", "50"}},
		inject: (*fleet).runScript,
		lasts:  1500 * time.Millisecond, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name: "Redis hangs for 1.2 s",
		inject: func(f *fleet) func() {
			return f.meanwhile("DEBUG", "SLEEP", "1.2")
		},
		lasts: time.Second, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name: "Redis is killed, and back without its data",
		inject: func(f *fleet) func() {
			f.redis.Kill()
			f.allGone(time.Now())
			return func() {
				f.redis.Restart()
				f.grantMore(liveSessions)
			}
		},
		lasts: time.Second, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name: "Redis is killed, and back with an older snapshot",
		inject: func(f *fleet) func() {
			f.do("SAVE")
			before := f.oracle.allLive()
			f.grantMore(liveSessions)
			f.mustBeNear(5 * time.Second)
			f.redis.Kill()
			killed := time.Now()
			for _, id := range f.oracle.allLive()[len(before):] {
				f.oracle.gone(id, killed)
			}
			return f.redis.Restart
		},
		lasts: 500 * time.Millisecond, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name: "the password is rotated away",
		setup: setup{
			users:   []string{"web on >secret ~* &* +@all"},
			options: "\t\t\tusername web\n\t\t\tpassword secret",
		},
		inject: func(f *fleet) func() {
			f.do("ACL", "SETUSER", "web", "resetpass", ">other")
			f.do("CLIENT", "KILL", "USER", "web")
			return func() { f.do("ACL", "SETUSER", "web", "resetpass", ">secret") }
		},
		lasts: 4 * time.Second, stale: time.Second, recovery: 2 * time.Second, attempts: reconnects,
	},
	{
		name: "Redis takes no more clients",
		inject: func(f *fleet) func() {
			f.do("CONFIG", "SET", "maxclients", "1")
			f.each(func(p *proxy) { p.cut(nil) })
			return func() { f.do("CONFIG", "SET", "maxclients", "10000") }
		},
		lasts: 4 * time.Second, stale: time.Second, recovery: 2 * time.Second, attempts: reconnects,
	},
	{
		name:   "FLUSHALL",
		inject: func(f *fleet) func() { return f.replaceAll("FLUSHALL") },
		lasts:  time.Second, stale: healthBound, recovery: 2 * time.Second,
	},
	{
		name:   "FLUSHDB ASYNC",
		inject: func(f *fleet) func() { return f.replaceAll("FLUSHDB", "ASYNC") },
		lasts:  time.Second, stale: healthBound, recovery: 2 * time.Second,
	},
	{
		name:   "SWAPDB",
		inject: func(f *fleet) func() { return f.replaceAll("SWAPDB", "0", "1") },
		lasts:  2 * time.Second, stale: time.Second, recovery: 2 * time.Second,
	},
	{
		name:   "REPLICAOF",
		inject: followAnother,
		lasts:  2 * time.Second, stale: time.Second, recovery: 2 * time.Second,
	},
}
