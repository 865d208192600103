// How much of the CPU hashing takes.

package filesource

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

const (
	// busyShare and idleShare are how much of the CPUs hashing takes while
	// requests come and while there are none. Hashing never takes more than
	// mostOfCore of a core at a time.
	busyShare  = 0.05
	idleShare  = 0.25
	mostOfCore = 0.5
	// coresPerSlot is how many cores there are for each file that is hashed at
	// a time.
	coresPerSlot = 4
	// busyFor is how long after a request the process counts as busy.
	busyFor = 100 * time.Millisecond
	// shortestRest is the shortest rest; shorter ones are added up.
	shortestRest = time.Millisecond
)

// Pace limits the CPU time of hashing, for all sources of a configuration together. A
// worker with one of its slots works in short pieces, and rests after each so that it
// keeps to its share.
type Pace struct {
	slots chan struct{}
	// busyCore and idleCore are the shares of a core that each slot has.
	busyCore, idleCore float64
	asked              atomic.Bool  // a request came since the last rest
	busyUntil          atomic.Int64 // as clock.Of
}

// NewPace returns the pace for a process that may use this number of cores.
func NewPace(cores int) *Pace {
	slots := max(1, cores/coresPerSlot)
	share := func(of float64) float64 { return min(mostOfCore, of*float64(cores)/float64(slots)) }
	return &Pace{slots: make(chan struct{}, slots), busyCore: share(busyShare), idleCore: share(idleShare)}
}

func defaultPace() *Pace { return NewPace(runtime.GOMAXPROCS(0)) }

// request notes that a request came.
func (p *Pace) request() {
	if !p.asked.Load() {
		p.asked.Store(true)
	}
}

// share returns the share of a core that a slot has now.
func (p *Pace) share(now time.Time) float64 {
	if p.asked.Swap(false) {
		p.busyUntil.Store(int64(clock.Of(now) + busyFor))
	}
	if int64(clock.Of(now)) < p.busyUntil.Load() {
		return p.busyCore
	}
	return p.idleCore
}

// worker works at a pace.
type worker struct {
	pace *Pace
	held bool          // whether it has a slot
	owed time.Duration // the rest that its work so far demands
}

// begin takes a slot.
func (w *worker) begin(ctx context.Context) error {
	select {
	case w.pace.slots <- struct{}{}:
		w.held = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end returns the slot.
func (w *worker) end() {
	if w.held {
		w.held = false
		<-w.pace.slots
	}
}

// rest pauses after some work. It returns the slot and takes one again, so that other
// workers get a turn.
func (w *worker) rest(ctx context.Context, worked time.Duration) error {
	now := time.Now()
	share := w.pace.share(now)
	w.owed += time.Duration(float64(worked) * (1 - share) / share)
	if w.owed < shortestRest {
		runtime.Gosched()
		return ctx.Err()
	}
	if err := pause(ctx, w.owed); err != nil {
		return err
	}
	w.owed = max(0, w.owed-time.Since(now)) // a late timer is a longer rest
	w.end()
	return w.begin(ctx)
}

// pause waits unless the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
