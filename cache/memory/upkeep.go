// Otter evicts and expires entries in tasks of its own. They run here, so that
// Close can wait for them.

package memory

import (
	"sync"
	"time"
)

// upkeep runs otter's tasks in goroutines that Close waits for. After Close the
// caller runs them.
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

// wallClock makes otter expire entries by the time of day. Otter's own clock
// stops while the machine sleeps, so that entries would live too long.
type wallClock struct{}

func (wallClock) NowNano() int64 { return time.Now().UnixNano() }

func (wallClock) Tick(d time.Duration) <-chan time.Time { return time.Tick(d) }
