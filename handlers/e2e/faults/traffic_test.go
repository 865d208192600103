package faults

import (
	"sync"
	"time"
)

// pace is the time between two requests of the traffic at a node.
const pace = 4 * time.Millisecond

// traffic sends requests with live and revoked sessions to every node until stop is
// called.
func (f *fleet) traffic() (stop func()) {
	f.stopped = make(chan struct{})
	var wait sync.WaitGroup
	for i := range f.nodes {
		wait.Go(func() { f.ask(i) })
	}
	return sync.OnceFunc(func() {
		close(f.stopped)
		wait.Wait()
		f.probes.Wait()
	})
}

// trafficAtOnce is how many requests of the traffic a node has at a time.
const trafficAtOnce = 32

// ask sends the traffic of one node. A request that hangs does not delay others.
func (f *fleet) ask(i int) {
	var wait sync.WaitGroup
	defer wait.Wait()
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	slots := make(chan struct{}, trafficAtOnce)
	for n := 0; ; n++ {
		select {
		case <-f.stopped:
			return
		case <-ticker.C:
		}
		select {
		case slots <- struct{}{}:
		default: // all hang: the node is asked again once one of them ends
			continue
		}
		wait.Go(func() {
			defer func() { <-slots }()
			switch n % 5 {
			case 0, 2:
				f.try(i, pick(f.oracle.allLive(), n/2), true)
			case 1: // the one that was revoked last
				f.try(i, pick(f.oracle.allRevoked(), 0), false)
			case 3:
				f.try(i, pick(f.oracle.allRevoked(), n/5), false)
			default:
				f.control(i)
			}
		})
	}
}

// try sends one request for a session, and reports whether it was let in.
func (f *fleet) try(i int, id string, live bool) bool {
	return f.tryWritten(i, id, live, func() {})
}

// tryWritten calls written once the request is on its way.
func (f *fleet) tryWritten(i int, id string, live bool, written func()) bool {
	if id == "" {
		return false
	}
	sent := time.Now()
	got, err := f.nodes[i].sendWritten("GET", f.path, id, "", written)
	if err != nil {
		got.status = 0
	}
	f.oracle.saw(id, i, sent, got, live)
	return got.status == 200
}

// control sends a request that needs no lookup, to measure the delay of the machine.
func (f *fleet) control(i int) {
	n := f.nodes[i]
	pauses, sent := n.pauses.Load(), time.Now()
	if _, err := n.send("GET", "/control", "", ""); err == nil && n.pauses.Load() == pauses && pauses%2 == 0 {
		f.oracle.control(time.Since(sent))
	}
}

// hot is how long requests with a session that was revoked are sent without a pause.
const hot = 2 * healthBound

// untilRefused sends requests with a revoked session to every node until it refuses, or
// until the traffic stops: first without a pause, then at a pace. It returns at once.
func (f *fleet) untilRefused(id string) {
	revoked := time.Now()
	for i := range f.nodes {
		f.probes.Go(func() {
			ticker := time.NewTicker(2 * pace)
			defer ticker.Stop()
			for f.try(i, id, false) {
				if time.Since(revoked) < hot {
					continue
				}
				select {
				case <-f.stopped:
					return
				case <-ticker.C:
				}
			}
		})
	}
}
