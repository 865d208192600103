package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

const (
	// What is promised: no copy is older than staleBound in any case, and 999
	// of 1000 reads see nothing older than healthyBound while all is well. What
	// the machine adds is measured in the same run.
	staleBound   = time.Second
	healthyBound = 10 * time.Millisecond
	checkKeys    = 4
)

// checker lets writers bump the versions of a few keys while readers on every
// instance look them up, and judges what they saw.
type checker struct {
	pause   time.Duration // of readers
	t       *testing.T
	fleet   []*instance
	foreign goredis.UniversalClient
	keys    [checkKeys]checked
	reads   atomic.Int64
	mu      sync.Mutex
	stale   []time.Duration // how old what was seen was, where it was old
	failed  atomic.Bool
	noise   *noise
	// control has how long after a write messages of the same server arrive that
	// go through no code of ours: what is promised comes on top of it.
	control *control
}

// checked is a key with the versions that were acknowledged, and when.
type checked struct {
	name  string
	write sync.Mutex // one writer at a time: versions go up
	next  int64
	acked atomic.Int64
	// times has, by version, when it was acknowledged
	times sync.Map
}

func newChecker(t *testing.T, fleet []*instance, foreign goredis.UniversalClient) *checker {
	c := &checker{pause: readerPause, t: t, fleet: fleet, foreign: foreign}
	for i := range c.keys {
		c.keys[i].name = fmt.Sprint("session:user:key", i)
	}
	return c
}

// read looks a key up and checks that it is not older than what this reader saw
// before. It keeps the age of what a newer acknowledged version has superseded.
func (c *checker) read(in *instance, k *checked, last *int64) {
	began := time.Now()
	result := in.look(k.name)
	c.reads.Add(1)
	seen, found := version(&result)
	if !found {
		return // dropped, or out of reach: never a wrong session
	}
	if seen < *last {
		c.fail("went back from version %d to %d of %s (%s)", *last, seen, k.name, result.From)
	}
	*last = seen
	if next, ok := k.times.Load(seen + 1); ok {
		// superseded when the read began?
		if age := began.Sub(next.(time.Time)); age > 0 {
			c.mu.Lock()
			c.stale = append(c.stale, age)
			c.mu.Unlock()
		}
	}
}

func (c *checker) fail(format string, args ...any) {
	if !c.failed.Swap(true) {
		c.t.Errorf(format, args...)
	}
}

// bump writes the next version of a key in some way.
func (c *checker) bump(k *checked) {
	k.write.Lock()
	defer k.write.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	k.next++
	n, r := k.next, versioned(k.next)
	var err error
	switch way := rand.IntN(6); way {
	case 0, 1: // our own API: the writer's instance sees it at once
		in := c.fleet[rand.IntN(len(c.fleet))]
		if err = in.Set(ctx, k.name, r, time.Hour); err == nil {
			result := in.look(k.name)
			if seen, found := version(&result); found && seen < n {
				c.fail("did not see its own write %d of %s but %d (%s)", n, k.name, seen, result.From)
			}
		}
	case 2:
		err = c.foreign.MSet(ctx, k.name, r.Text()).Err()
	case 3: // dropped first: who reads in between finds nothing
		_ = c.foreign.Del(ctx, k.name).Err()
		err = c.foreign.Set(ctx, k.name, r.Text(), time.Hour).Err()
	case 4:
		if err = c.foreign.Set(ctx, k.name, r.Text(), 0).Err(); err == nil {
			_ = c.foreign.Expire(ctx, k.name, time.Hour).Err()
		}
	default:
		err = c.foreign.Set(ctx, k.name, r.Text(), time.Hour).Err()
	}
	if err == nil {
		k.times.Store(n, time.Now())
		k.acked.Store(n)
	}
	// an unacknowledged write may have happened or not; its number is used up
}

// readerPause is how long a reader rests between its rounds.
const readerPause = 100 * time.Microsecond

// run disturbs while readers and writers work.
func (c *checker) run(d time.Duration, disturb func(i int)) {
	stop := make(chan struct{})
	c.noise = startNoise(c.t)
	var group sync.WaitGroup
	for _, in := range c.fleet {
		for range 2 {
			group.Go(func() {
				var last [checkKeys]int64
				for {
					select {
					case <-stop:
						return
					default:
					}
					for range 50 {
						i := rand.IntN(checkKeys)
						c.read(in, &c.keys[i], &last[i])
					}
					time.Sleep(c.pause) // leave something to those who write
				}
			})
		}
	}
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(4)) * time.Millisecond):
				c.bump(&c.keys[rand.IntN(checkKeys)])
			}
		}
	})
	until := time.Now().Add(d)
	for i := 0; time.Now().Before(until); i++ {
		disturb(i)
		time.Sleep(d / 20)
	}
	close(stop)
	group.Wait()
	c.noise.stop()
	c.agree()
	c.t.Logf("%d reads; ages of what had been superseded: %s; noise: %s", c.reads.Load(), quantiles(c.stale), quantiles(c.noise.late))
	require.LessOrEqual(c.t, quantile(c.stale, 1), staleBound+c.noise.quantile(1), "a copy was older than is promised")
}

// requireHealthy checks that what is promised while nothing is disturbed has held.
func (c *checker) requireHealthy() {
	bound, older := healthyBound+c.control.quantile(.999), 0
	for _, age := range c.stale {
		if age > bound {
			older++
		}
	}
	c.t.Logf("%d of %d reads saw what was superseded more than %s ago; messages of the server: %s",
		older, c.reads.Load(), bound, quantiles(c.control.late))
	require.LessOrEqual(c.t, older, int(c.reads.Load()/1000), "copies were older than is promised")
}

// agree checks that all instances see the last write once writers rest.
func (c *checker) agree() {
	for i := range c.keys {
		k := &c.keys[i]
		want := k.next + 1
		require.Eventually(c.t, func() bool {
			return c.foreign.Set(context.Background(), k.name, versioned(want).Text(), time.Hour).Err() == nil
		}, 20*time.Second, 10*time.Millisecond)
		for _, in := range c.fleet {
			require.Eventually(c.t, func() bool {
				result := in.look(k.name)
				seen, _ := version(&result)
				return seen == want
			}, 20*time.Second, 5*time.Millisecond, "%s: not all agree", k.name)
		}
	}
}

// checkFor is how long each disturbance lasts.
func checkFor() time.Duration {
	if soak() {
		return 2 * time.Minute
	}
	return 4 * time.Second
}

// These run one after the other: each takes all there is of the machine.

func TestCoherence(t *testing.T) {
	for name, disturb := range map[string]func(server *redistest.Server, p *proxy) func(int){
		"undisturbed": func(*redistest.Server, *proxy) func(int) { return func(int) {} },
		"trackers killed": func(server *redistest.Server, _ *proxy) func(int) {
			return func(int) { _ = killTrackers(context.Background(), server.Client()) }
		},
		"all connections killed": func(server *redistest.Server, _ *proxy) func(int) {
			return func(int) {
				server.Client().Do(context.Background(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			}
		},
		"connections cut": func(_ *redistest.Server, p *proxy) func(int) { return func(int) { p.cut() } },
		"connections slow": func(_ *redistest.Server, p *proxy) func(int) {
			return func(i int) { p.delay.Store(int64(i%4) * int64(5*time.Millisecond)) }
		},
		"connections silent": func(_ *redistest.Server, p *proxy) func(int) {
			return func(i int) { p.silent.Store(i%10 < 6) }
		},
		"server stopped and continued": func(server *redistest.Server, _ *proxy) func(int) {
			return func(i int) {
				if i%6 == 0 {
					server.Pause()
					time.Sleep(300 * time.Millisecond)
					server.Continue()
				}
			}
		},
		"among many other writes": func(server *redistest.Server, _ *proxy) func(int) {
			return func(int) { writeOthers(server.Client(), 150*time.Millisecond) }
		},
		"flushed": func(server *redistest.Server, _ *proxy) func(int) {
			return func(int) { server.Client().FlushAll(context.Background()) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			p := newProxy(t, server.Addr())
			// one instance is behind the network that fails, the others are not
			ro := cache.LookupOptions{Strict: true, LookupTimeout: 300 * time.Millisecond}
			fleet := append(newFleet(t, 2, Options{Addresses: []string{server.Addr()}}, ro),
				newFleet(t, 1, Options{Addresses: []string{p.addr()}}, ro)...)
			c := newChecker(t, fleet, server.Client())
			if name == "undisturbed" {
				c.pause = 20 * readerPause // leaves the machine to the reports
				c.control = startControl(t, server, len(fleet))
			}
			c.run(checkFor(), disturb(server, p))
			require.Greater(t, c.reads.Load(), int64(10_000))
			if c.control != nil {
				c.control.stop()
				c.requireHealthy()
			}
		})
	}
}

// writeOthers writes sessions that no reader looks up, one at a time, so that each
// is a report of its own.
func writeOthers(client *goredis.Client, d time.Duration) {
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i, until := 0, time.Now().Add(d); time.Now().Before(until); i++ {
				_ = client.Set(context.Background(), fmt.Sprint("session:user:other", w, i%1000), "{}", time.Hour).Err()
			}
		})
	}
	group.Wait()
}

func TestCoherenceOverAnEmptyRestart(t *testing.T) {
	server := redistest.Start(t)
	fleet := newFleet(t, 3, Options{Addresses: []string{server.Addr()}, BreakerCoolDown: 50 * time.Millisecond},
		cache.LookupOptions{Strict: true, LookupTimeout: 300 * time.Millisecond})
	c := newChecker(t, fleet, server.Client())
	c.run(checkFor(), func(i int) {
		if i%10 == 5 {
			server.Kill()
			server.Restart()
		}
	})
}

// A failover to a replica may lose writes that were acknowledged, so versions
// may go back; that all agree in the end is what can be promised.
func TestCoherenceOverFailovers(t *testing.T) {
	t.Run("sentinel", func(t *testing.T) {
		s := redistest.StartSentinel(t)
		o := Options{Addresses: s.Addrs(), MasterName: s.MasterName, BreakerCoolDown: 100 * time.Millisecond}
		fleet := newFleet(t, 2, o, cache.LookupOptions{Strict: true})
		writer := open(t, o)
		c := newChecker(t, fleet, writer.primary)
		c.agree()
		s.Master().Kill()
		c.keys[0].next = 100
		c.agree()
		for _, in := range fleet {
			in.becomesCoherent(t)
		}
		c.keys[0].next = 200
		c.agree()
	})
	t.Run("cluster", func(t *testing.T) {
		cluster := redistest.StartCluster(t, 3, 1)
		o := Options{Addresses: cluster.Addrs(), ClientType: Cluster, BreakerCoolDown: 100 * time.Millisecond}
		fleet := newFleet(t, 2, o, cache.LookupOptions{Strict: true})
		writer := open(t, o)
		c := newChecker(t, fleet, writer.primary)
		c.run(checkFor()/2, func(i int) {
			if i == 5 { // graceful, nothing is lost
				for _, node := range cluster.Nodes() {
					if node.Client().Do(context.Background(), "CLUSTER", "FAILOVER").Err() == nil {
						break
					}
				}
			}
		})
		for _, in := range fleet {
			in.becomesCoherent(t)
		}
		moveSlots(t, c)
		cluster.Nodes()[0].Kill()
		for i := range c.keys {
			c.keys[i].next += 100
		}
		c.agree()
	})
}

// moveSlots moves the slot of each key to another master while all look on.
func moveSlots(t *testing.T, c *checker) {
	t.Helper()
	ctx := context.Background()
	client := c.foreign.(*goredis.ClusterClient)
	c.run(checkFor()/2, func(i int) {
		if i%4 != 0 || i/4 >= checkKeys {
			return
		}
		key := c.keys[i/4].name
		from, err := client.MasterForKey(ctx, key)
		require.NoError(t, err)
		var to *goredis.Client
		var mu sync.Mutex
		require.NoError(t, client.ForEachMaster(ctx, func(_ context.Context, node *goredis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			if node.Options().Addr != from.Options().Addr {
				to = node
			}
			return nil
		}))
		slot, fromID, toID := slotOf(key), from.Do(ctx, "CLUSTER", "MYID").String(), to.Do(ctx, "CLUSTER", "MYID").String()
		fromID, toID = fromID[len(fromID)-40:], toID[len(toID)-40:]
		require.NoError(t, to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID).Err())
		require.NoError(t, from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID).Err())
		host, port, err := net.SplitHostPort(to.Options().Addr)
		require.NoError(t, err)
		keys, err := from.ClusterGetKeysInSlot(ctx, slot, 100).Result()
		require.NoError(t, err)
		for _, key := range keys {
			require.NoError(t, from.Do(ctx, "MIGRATE", host, port, key, 0, 5000).Err())
		}
		for _, node := range []*goredis.Client{to, from} {
			require.NoError(t, node.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", toID).Err())
		}
	})
}

func TestReplicasThatAreReadAreWatched(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) Options{
		"sentinel": func(t *testing.T) Options {
			s := redistest.StartSentinel(t)
			return Options{Addresses: s.Addrs(), MasterName: s.MasterName, ReadFrom: Replicas}
		},
		"cluster": func(t *testing.T) Options {
			return Options{Addresses: redistest.StartCluster(t, 3, 1).Addrs(), ClientType: Cluster, ReadFrom: Replicas}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			fleet := newFleet(t, 2, o, cache.LookupOptions{Strict: true})
			newChecker(t, fleet, open(t, o).primary).agree()
			nodes, err := fleet[0].store.nodes(t.Context())
			require.NoError(t, err)
			require.Greater(t, len(nodes), 1)
			for _, node := range nodes {
				require.True(t, node.read, "%s is read but need not be watched", node.addr)
			}
		})
	}
}
