// The files that wait to be hashed, and the goroutine that hashes them.

package filesource

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// hasher hashes the files of one source in the background, one at a time. Small files
// come first, even between the pieces of a large one. Its goroutine ends when no files
// are left.
type hasher struct {
	source *Source
	ctx    context.Context // ends with the configuration
	cancel context.CancelFunc
	done   sync.WaitGroup
	worker worker        // used by the goroutine alone
	wake   chan struct{} // receives when a file was added while the goroutine waits

	mu      sync.Mutex
	pending map[string]*hashJob // by the key of the file's record
	small   []*hashJob
	large   []*hashJob
	later   laterJobs
	running bool
	closed  bool
}

// hashJob is a file to be hashed.
type hashJob struct {
	req   cache.Request
	state fileState
	// after is when it may be tried again.
	after time.Time
}

// laterJobs is a heap: the next one is the first.
type laterJobs []*hashJob

func (l laterJobs) Len() int           { return len(l) }
func (l laterJobs) Less(i, j int) bool { return l[i].after.Before(l[j].after) }
func (l laterJobs) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *laterJobs) Push(job any)      { *l = append(*l, job.(*hashJob)) }
func (l *laterJobs) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

func newHasher(ctx context.Context, source *Source, pace *Pace) *hasher {
	h := &hasher{source: source, worker: worker{pace: pace}, pending: make(map[string]*hashJob), wake: make(chan struct{}, 1)}
	h.ctx, h.cancel = context.WithCancel(ctx)
	return h
}

// close cancels all hashing and waits until it has ended.
func (h *hasher) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.done.Wait()
}

// hashPace limits how often one file is hashed. Each hash soon after another
// doubles the next pause. So a file may be replaced a few times in a row, and a
// growing file is not read at each change.
type hashPace struct {
	began time.Time
	pause time.Duration
}

// next reports whether the file may be hashed now, and counts the hash.
func (p *hashPace) next(now time.Time) bool {
	since := now.Sub(p.began)
	switch {
	case since < 0 || since > 10*max(p.pause, clockTick):
		p.pause = clockTick
	case since < p.pause:
		return false
	default:
		p.pause = min(2*p.pause, maxHashPause)
	}
	p.began = now
	return true
}

// start queues a file for hashing, unless it is queued already or its last hash
// was too recent. Where the queue is full, the next check of the file tries
// again.
func (h *hasher) start(req cache.Request, state fileState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.pending[req.Key] != nil || len(h.pending) >= maxQueued {
		return
	}
	if !h.source.lastCheck(req.Key).pace.next(time.Now()) {
		return
	}
	job := &hashJob{req: req, state: state}
	h.pending[req.Key] = job
	h.add(job)
	if !h.running {
		h.running = true
		h.done.Add(1)
		go h.run()
		return
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// add queues a job that need not wait.
func (h *hasher) add(job *hashJob) {
	if job.state.size <= smallFile {
		h.small = append(h.small, job)
	} else {
		h.large = append(h.large, job)
	}
}

// next takes the next job from the queue. Without one, wait is the time until a delayed
// job is due; 0 means that there is none, and that the goroutine must end.
func (h *hasher) next(smallOnly bool) (job *hashJob, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for len(h.later) > 0 && !h.later[0].after.After(now) {
		h.add(heap.Pop(&h.later).(*hashJob))
	}
	for _, queue := range []*[]*hashJob{&h.small, &h.large} {
		if len(*queue) > 0 {
			job = (*queue)[0]
			*queue = (*queue)[1:]
			return job, 0
		}
		if smallOnly {
			return nil, 0
		}
	}
	if len(h.later) > 0 && h.ctx.Err() == nil {
		return nil, max(time.Millisecond, h.later[0].after.Sub(now))
	}
	h.running = false
	return nil, 0
}

// run hashes the queued files.
func (h *hasher) run() {
	defer h.done.Done()
	for {
		job, wait := h.next(false)
		switch {
		case job != nil:
			h.hash(job)
		case wait == 0:
			return
		default:
			h.await(wait)
		}
	}
}

// await waits until a file is added or a delayed one is due.
func (h *hasher) await(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.wake:
	case <-h.ctx.Done():
	}
}

// hash hashes one file.
func (h *hasher) hash(job *hashJob) {
	if h.ctx.Err() != nil || h.worker.begin(h.ctx) != nil {
		h.finish(job, 0)
		return
	}
	h.hashWithSlot(job, true)
	h.worker.end()
}

// hashWithSlot hashes a file. With others, it hashes small files between the pieces of a
// large one.
func (h *hasher) hashWithSlot(job *hashJob, others bool) {
	rest := func(worked time.Duration) error {
		if err := h.worker.rest(h.ctx, worked); err != nil {
			return err
		}
		if others && job.state.size > smallFile {
			if small, _ := h.next(true); small != nil {
				h.hashWithSlot(small, false)
			}
		}
		return h.ctx.Err()
	}
	wait := h.source.hash(h.ctx, job.req, job.state, rest)
	h.finish(job, wait)
	_ = h.worker.rest(h.ctx, perFile)
}

// finish ends a job, or queues it again after a wait.
func (h *hasher) finish(job *hashJob, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if wait > 0 && h.ctx.Err() == nil {
		job.after = time.Now().Add(wait)
		heap.Push(&h.later, job)
		return
	}
	delete(h.pending, job.req.Key)
}
