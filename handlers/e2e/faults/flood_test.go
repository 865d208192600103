// Floods: clients that send sessions which do not exist, faster than nodes can look
// them up.

package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFloodsOfOneRouteDoNotAffectOthers(t *testing.T) {
	runAll(t, []scenario{
		{name: "clients leave a node with few file descriptors", run: clientsThatLeaveAndFewFiles},
		{name: "file descriptors are exhausted", long: true, run: exhaustedFiles(false)},
		{name: "file descriptors are exhausted, and Redis is lost meanwhile", run: exhaustedFiles(true)},
		{name: "too many loads wait", run: fullQueue},
		{name: "a flood of one route does not slow the misses of another", run: fairRoutes},
	})
}

// knock opens a connection to a node, sends a request with a session, and holds
// the connection until done is closed.
func (f *fleet) knock(i int, session string, done <-chan struct{}) error {
	c, err := net.Dial("tcp", f.nodes[i].page)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = fmt.Fprintf(c, "GET /app HTTP/1.1\r\nHost: %s\r\nCookie: session=%s\r\n\r\n", f.nodes[i].page, session)
	<-done
	return err
}

// goroutines returns the number of goroutines of a node.
func (n *node) goroutines(t *testing.T) int {
	t.Helper()
	resp, err := n.client.Get("http://" + n.admin + "/debug/pprof/goroutine?debug=1")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_, count, _ := strings.Cut(string(text[:min(len(text), 100)]), "total ")
	count, _, _ = strings.Cut(count, "\n")
	total, err := strconv.Atoi(count)
	require.NoError(t, err)
	return total
}

// files is the limit of file descriptors of a node in these scenarios.
const files = 1024

func flooders() int {
	if soak {
		return 5000
	}
	return 1500
}

// Clients that send random sessions and leave do not prevent a site with few file
// descriptors from answering others, also on new connections.
func clientsThatLeaveAndFewFiles(t *testing.T) {
	f := newFleet(t, setup{files: files})
	f.app.slow.Store(int64(10 * time.Second))
	before, connections := f.nodes[0].goroutines(t), f.app.open.Load()
	stop := f.traffic()
	defer stop()
	began := time.Now()
	other := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	var answers []time.Duration
	stopOther := f.repeat(20*time.Millisecond, func(int) {
		sent := time.Now()
		resp, err := other.Get("http://" + f.nodes[0].page + "/control")
		if err != nil {
			t.Errorf("another site does not answer: %v", err)
			return
		}
		_ = resp.Body.Close()
		answers = append(answers, time.Since(sent))
	})
	f.leaveAt(flooders(), f.nodes[:1])
	left := time.Now()
	stopOther()
	noise := f.oracle.machineNoise()
	f.baseline(before, connections)
	stop()
	t.Logf("noise %v; the other site answered %d times, the last after %v; baseline %v after the last client has left", noise, len(answers), quantile(answers, 1), time.Since(left))
	require.LessOrEqual(t, quantile(answers, 1), 2*time.Second+noise)
	if n, first := f.oracle.failedOutside(began.Add(time.Hour), began.Add(time.Hour)); noise < tooNoisy {
		require.Zero(t, n, "failures of other sessions: %+v", first)
	}
}

// tooNoisy is the delay of a machine on which any lookup may take as long as
// lookup_timeout.
const tooNoisy = 250 * time.Millisecond

// idleLoads is the number of goroutines that a node keeps for its next loads.
const idleLoads = 32

// baseline waits until no load is left, and nothing that a flood has made: the node
// may keep connections to the application, of two goroutines each, goroutines for
// its next loads, and the connections of the traffic.
func (f *fleet) baseline(goroutines int, connections int64) {
	f.t.Helper()
	require.EventuallyWithT(f.t, func(c *assert.CollectT) {
		assert.Zero(c, f.app.inFlight.Load(), "loads")
		assert.LessOrEqual(c, f.app.open.Load(), connections+maxConcurrent, "connections to the application")
		assert.LessOrEqual(c, f.nodes[0].goroutines(f.t), goroutines+2*maxConcurrent+idleLoads+trafficAtOnce)
	}, 10*time.Second, 20*time.Millisecond)
}

// Clients take all file descriptors of a node, stay for a while and leave.
// Meanwhile the node may lose its connections to Redis, and cannot make others.
// It admits no unauthorized request, other nodes are not affected, and when
// the clients have left, everything is as before.
func exhaustedFiles(losesRedis bool) func(t *testing.T) {
	return func(t *testing.T) {
		f := newFleet(t, setup{files: files})
		f.app.slow.Store(int64(10 * time.Second))
		before, connections := f.nodes[0].goroutines(t), f.app.open.Load()
		stop := f.traffic()
		defer stop()
		f.revokeFor(500 * time.Millisecond)
		began := time.Now()
		f.nodes[0].pauses.Add(1) // how long it takes says nothing of the machine
		leave := make(chan struct{})
		var knocking sync.WaitGroup
		for n := range flooders() {
			knocking.Go(func() { _ = f.knock(0, fmt.Sprintf("random-%d", n), leave) })
		}
		f.revokeFor(time.Second)
		if losesRedis {
			f.nodes[0].proxy.cut(nil)
		}
		f.revokeFor(3 * time.Second)
		require.LessOrEqual(t, f.app.most.Load(), int64(nodes*maxConcurrent))
		close(leave)
		left := time.Now()
		knocking.Wait()
		missing := f.awaitNear(32 * time.Second)
		recovered := time.Now()
		f.nodes[0].pauses.Add(1)
		f.revokeFor(500 * time.Millisecond)
		stop()

		noise := f.oracle.machineNoise()
		ages, worst, of := f.oracle.ages()
		t.Logf("noise %v; %d revocations, the last to be let in %v after its own; recovery %v; %d failures",
			noise, len(ages), quantile(ages, 1), recovered.Sub(left), len(f.oracle.failures))
		require.Empty(t, missing)
		require.LessOrEqual(t, recovered.Sub(left), 2*time.Second+noise)
		require.LessOrEqual(t, quantile(ages, 1), time.Second+noise, "session %s at node %d", of, worst.node)
		f.checkRefusals()
		f.baseline(before, connections)
		if noise >= tooNoisy {
			return
		}
		n, first := f.oracle.failedOutside(began.Add(-time.Second), recovered)
		require.Zero(t, n, "failures outside of the flood: %+v", first)
		for _, failed := range f.oracle.failures {
			require.Zero(t, failed.node, "another node failed with status %d", failed.status)
			if !losesRedis {
				require.Zero(t, failed.status, "a node that took the request of a session in use did not let it in")
			}
		}
	}
}

// misses sends requests with random sessions, all at once, and reports their
// statuses and how long they took.
func (f *fleet) misses(ctx context.Context, i, n int, path, name string) (statuses map[int]int, took []time.Duration) {
	statuses = make(map[int]int)
	var mu sync.Mutex
	var wait sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	for k := range n {
		wait.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.nodes[i].page+path, nil)
			if err != nil {
				panic(err)
			}
			req.AddCookie(&http.Cookie{Name: "session", Value: fmt.Sprintf("%s-%d", name, k)})
			sent := time.Now()
			status := 0
			if resp, err := client.Do(req); err == nil {
				_ = resp.Body.Close()
				status = resp.StatusCode
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
			took = append(took, time.Since(sent))
		})
	}
	wait.Wait()
	return statuses, took
}

// otherRoutes are routes with sources of their own.
func otherRoutes(app *application) string {
	return `
	handle /narrow {
		session_lookup {cookie.session} {
			key narrow:{id}
			source http ` + app.url + `/auth {
				timeout ` + narrowTimeout.String() + `
				max_concurrent 2
			}
			on_error 504
		}
		respond in
	}
	handle /quick {
		session_lookup {cookie.session} {
			key quick:{id}
			source http ` + app.url + `/quick
		}
		respond in
	}
`
}

// If very many loads wait, the next ones are answered with on_error, long before the
// timeout of the source.
func fullQueue(t *testing.T) {
	f := newFleet(t, setup{routes: otherRoutes})
	f.app.slow.Store(int64(time.Minute))
	const most, more = 1024 + 2, 300
	statuses, took := f.misses(t.Context(), 0, most+more, "/narrow", "random")
	noise := f.measureNoise()
	atOnce := quantile(took, float64(more-1)/float64(most+more))
	t.Logf("statuses %v, the first %d within %v, all within %v; noise %v", statuses, more, atOnce, quantile(took, 1), noise)
	require.Equal(t, map[int]int{http.StatusGatewayTimeout: most + more}, statuses)
	require.Less(t, atOnce, narrowTimeout/2+noise)
	require.LessOrEqual(t, f.app.most.Load(), int64(2))
}

// narrowTimeout is that of the source of /narrow.
const narrowTimeout = 8 * time.Second

// A flood of one route's misses, and a slow application behind it, do not slow
// the misses of another route.
func fairRoutes(t *testing.T) {
	f := newFleet(t, setup{routes: otherRoutes, options: "\t\t\tpool_size 10"})
	f.app.slow.Store(int64(time.Second))
	f.each(func(p *proxy) { p.delay.Store(int64(5 * time.Millisecond)) })
	f.awaitNear(10 * time.Second)
	_, alone := f.misses(t.Context(), 0, 20, "/quick", "alone")
	ctx, leave := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	defer flood.Wait()
	defer leave()
	for k := range 16 {
		flood.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				f.misses(ctx, 0, 25, "/app", fmt.Sprintf("flood-%d-%d", k, n))
			}
		})
	}
	require.Eventually(t, func() bool { return f.app.most.Load() >= maxConcurrent }, 30*time.Second, time.Millisecond)
	var beside []time.Duration
	for n := range 10 {
		f.control(1)
		statuses, took := f.misses(t.Context(), 0, 20, "/quick", fmt.Sprintf("beside-%d", n))
		require.Equal(t, map[int]int{401: 20}, statuses)
		beside = append(beside, took...)
	}
	noise := f.oracle.machineNoise()
	t.Logf("misses of the other route alone %v, beside the flood %v (median), %v (worst); noise %v", quantile(alone, 0.5), quantile(beside, 0.5), quantile(beside, 1), noise)
	require.LessOrEqual(t, quantile(beside, 0.5), quantile(alone, 0.5)+3*20*time.Millisecond+2*noise)
}
