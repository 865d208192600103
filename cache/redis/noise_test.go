package redis

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// noise measures what the machine adds to every time that a test measures: how
// much later than asked a goroutine that does nothing wakes up and gets an
// answer from another one.
type noise struct {
	mu   sync.Mutex
	late []time.Duration
	stop func()
}

// startNoise measures until the returned noise is asked for its quantiles.
func startNoise(t testing.TB) *noise {
	const pause = time.Millisecond
	n := new(noise)
	stop, requests := make(chan struct{}), make(chan chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for request := range requests {
			close(request)
		}
	})
	group.Go(func() {
		defer close(requests)
		for {
			started := time.Now()
			select {
			case <-stop:
				return
			case <-time.After(pause):
			}
			request := make(chan struct{})
			requests <- request
			<-request
			n.mu.Lock()
			n.late = append(n.late, time.Since(started)-pause)
			n.mu.Unlock()
		}
	})
	n.stop = sync.OnceFunc(func() { close(stop); group.Wait() })
	t.Cleanup(n.stop)
	return n
}

func (n *noise) quantile(q float64) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return quantile(n.late, q)
}

// quantile sorts the durations; it is 0 where there are none.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}
