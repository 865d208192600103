// Loads are bounded, and end.

package faults

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLoadsAreBoundedAndEnd(t *testing.T) {
	runAll(t, []scenario{
		{name: "clients that leave cost no more than they may", run: clientsThatLeave},
		{name: "many misses on all nodes are one load", run: manyMisses},
		{name: "a failure of the application is shared by all who wait", run: sharedFailure},
	})
}

// maxConcurrent is how many loads of a source a node has at a time.
const maxConcurrent = 64

// leave sends requests with random sessions and leaves before they have an
// answer, as a client does that costs nothing to its owner.
func (f *fleet) leave(n int) { f.leaveAt(n, f.nodes) }

// leaveAt is leave at some of the nodes.
func (f *fleet) leaveAt(n int, at []*node) {
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at[i%len(at)].page+"/app", nil)
			if err != nil {
				f.t.Error(err)
				return
			}
			req.AddCookie(&http.Cookie{Name: "session", Value: fmt.Sprintf("random-%d", i)})
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			time.AfterFunc(100*time.Millisecond, cancel)
			if resp, err := client.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	wait.Wait()
}

func clientsThatLeave(t *testing.T) {
	f := newFleet(t, setup{})
	stop := f.traffic()
	defer stop()
	began := time.Now()
	f.app.slow.Store(int64(10 * time.Second))
	f.leave(600)
	left := time.Now()
	require.LessOrEqual(t, f.app.most.Load(), int64(nodes*maxConcurrent))
	noise := f.oracle.machineNoise()
	require.Eventually(t, func() bool { return f.app.inFlight.Load() == 0 }, 15*time.Second, time.Millisecond)
	if ended := time.Since(left); ended > time.Second+noise {
		t.Errorf("loads without waiting requests went on for %v", ended)
	}
	stop()
	n, first := f.oracle.failedOutside(began.Add(time.Hour), began.Add(time.Hour))
	if n > 0 && noise < tooNoisy {
		t.Errorf("%d requests of other sessions failed, the first at node %d with status %d", n, first.node, first.status)
	}
}

func manyMisses(t *testing.T) {
	f := newFleet(t, setup{})
	f.each(func(p *proxy) { p.delay.Store(int64(12 * time.Millisecond)) })
	f.app.slow.Store(int64(3 * time.Second))
	f.app.login("one", "anna")
	var wait sync.WaitGroup
	var in atomic.Int64
	for i := range 30 {
		wait.Go(func() {
			if got, err := f.nodes[i%nodes].send("GET", "/app", "one", ""); err == nil && got.status == 200 {
				in.Add(1)
			}
		})
	}
	wait.Wait()
	require.Equal(t, int64(30), in.Load())
	require.Equal(t, 1, f.app.asked("one"))
}

func sharedFailure(t *testing.T) {
	f := newFleet(t, setup{})
	f.app.slow.Store(int64(2 * time.Second))
	f.app.status.Store(http.StatusInternalServerError)
	var wait sync.WaitGroup
	var worst atomic.Int64
	for i := range 30 {
		wait.Go(func() {
			sent := time.Now()
			got, err := f.nodes[i%nodes].send("GET", "/app", "one", "")
			if err != nil || got.status != http.StatusServiceUnavailable {
				t.Errorf("status %d, %v", got.status, err)
			}
			raise(&worst, int64(time.Since(sent)))
		})
	}
	wait.Wait()
	noise := f.measureNoise()
	t.Logf("the longest took %v, the application was asked %d times", time.Duration(worst.Load()), f.app.asked("one"))
	// a source takes 2 s here, lookup_timeout is half a second
	require.LessOrEqual(t, time.Duration(worst.Load()), 2500*time.Millisecond+noise)
	require.Equal(t, 1, f.app.asked("one"))
}
