// What otter does beside the calls to it: evicting and expiring. It is run
// here instead of in otter's own goroutines, so that Close can wait for it.

package memory

import (
	"sync"
	"time"
)

// upkeep runs otter's tasks in goroutines that Close waits for. A task that
// comes after Close is run at once by the caller.
type upkeep struct {
	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup
}

func (u *upkeep) run(task func()) {
	if !u.start(task) {
		task()
	}
}

func (u *upkeep) start(task func()) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.tasks.Go(task)
	return true
}

func (u *upkeep) close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.tasks.Wait()
}

// wallClock lets otter expire entries at the time they say. Its own clock
// counts from the start of the process and stands still while a machine
// sleeps, so that it would show entries past their time.
type wallClock struct{}

func (wallClock) NowNano() int64 { return time.Now().UnixNano() }

func (wallClock) Tick(d time.Duration) <-chan time.Time { return time.Tick(d) }
