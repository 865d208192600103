package admin

import (
	"context"
	"errors"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/time/rate"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

var (
	errReplaced  = errors.New("the configuration was replaced: run warm again")
	errStoreGone = errors.New("the store is unavailable: the log says why")
)

const (
	maxWarmFailures = 100
	// warmPatience is after how many failures of the store in a row a warm-up ends.
	warmPatience = 20
	// warmBatch is how many records are loaded under leases that are taken
	// together, and warmBatches how many such batches are under way at a time.
	warmBatch, warmBatches = 300, 2
)

// warmUp is a warm-up under way.
type warmUp struct {
	request wire.WarmRequest
	lookups []*lookup.Lookup
	repl    *caddy.Replacer
	cancel  context.CancelCauseFunc
	started time.Time
	batch   int // how many records are loaded at a time

	mu     sync.Mutex
	counts wire.WarmProgress
	outage int // failures of the store in a row
}

func newWarmUp(request wire.WarmRequest, lookups []*lookup.Lookup, repl *caddy.Replacer, cancel context.CancelCauseFunc) *warmUp {
	u := &warmUp{request: request, lookups: lookups, repl: repl, cancel: cancel, started: time.Now(), batch: batchOf(request, lookups)}
	u.counts.Total = -1
	if request.IDs != nil {
		u.counts.Total = len(request.IDs) * len(lookups)
	}
	return u
}

// warmTask is one identity of one lookup.
type warmTask struct {
	lookup *lookup.Lookup
	id     string
	index  int // in the list of the request, -1 without one
}

// start begins to load. The channel closes when all is done, or ctx has ended.
func (u *warmUp) start(ctx context.Context) (done chan struct{}) {
	tasks := make(chan []warmTask)
	var group sync.WaitGroup
	group.Go(func() {
		defer close(tasks)
		u.feed(ctx, tasks)
	})
	workers, loads := u.request.Concurrency, 1 // loads of each worker
	if u.batch > 1 {
		workers = min(workers, warmBatches)
		loads = u.request.Concurrency / workers
	}
	for range workers {
		group.Go(func() {
			for batch := range tasks {
				u.loadBatch(ctx, batch, loads)
			}
		})
	}
	done = make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	return done
}

// batchOf returns how many records are loaded together: one if there is a rate or if
// loads may take long.
func batchOf(request wire.WarmRequest, lookups []*lookup.Lookup) int {
	for _, l := range lookups {
		if quick, ok := l.Source().(source.Quick); !ok || !quick.Quick() || request.Rate > 0 {
			return 1
		}
	}
	return warmBatch
}

// feed sends the tasks, at the requested rate.
func (u *warmUp) feed(ctx context.Context, tasks chan<- []warmTask) {
	limit := rate.Inf
	if u.request.Rate > 0 {
		limit = rate.Limit(u.request.Rate)
	}
	limiter := rate.NewLimiter(limit, 1)
	total := 0
	for _, lookup := range u.lookups {
		var batch []warmTask // of one lookup
		send := func() (ok bool) {
			select {
			case tasks <- batch:
				batch = nil
				return true
			case <-ctx.Done():
				return false
			}
		}
		for task, err := range u.tasks(ctx, lookup) {
			total++
			if err != nil {
				u.fail(task, err.Error())
				continue
			}
			if limiter.Wait(ctx) != nil {
				return
			}
			if batch = append(batch, task); len(batch) == u.batch && !send() {
				return
			}
		}
		if len(batch) > 0 && !send() {
			return
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts.Total = total
}

// tasks lists the identities to load for one lookup. An error means that the source
// cannot list a part of them.
func (u *warmUp) tasks(ctx context.Context, lookup *lookup.Lookup) iter.Seq2[warmTask, error] {
	return func(yield func(warmTask, error) bool) {
		if u.request.IDs == nil {
			for id, err := range lookup.Source().(source.Lister).List(ctx, u.repl) {
				if !yield(warmTask{lookup, id, -1}, err) {
					return
				}
			}
			return
		}
		for i, id := range u.request.IDs {
			if !yield(warmTask{lookup, id, i}, nil) {
				return
			}
		}
	}
}

var errEmptyIdentity = errors.New("empty identity")

// loadBatch loads identities of one lookup, with at most loads loads at a time.
func (u *warmUp) loadBatch(ctx context.Context, batch []warmTask, loads int) {
	var known []warmTask
	var reqs []cache.Request
	for _, task := range batch {
		if ctx.Err() != nil {
			return
		}
		req, err := u.requestOf(task)
		if err != nil {
			u.fail(task, err.Error())
			continue
		}
		known, reqs = append(known, task), append(reqs, req)
	}
	switch len(known) {
	case 0:
	case 1:
		r := known[0].lookup.Records().Warm(ctx, reqs[0])
		u.note(ctx, known[0], &r)
	default:
		results := known[0].lookup.Records().WarmMany(ctx, reqs, loads)
		for i := range results {
			u.note(ctx, known[i], &results[i])
		}
	}
}

// requestOf returns the request of a task.
func (u *warmUp) requestOf(task warmTask) (req cache.Request, err error) {
	id, err := task.lookup.ParseIdentity(task.id)
	if err == nil {
		req, err = task.lookup.Request(nil, u.repl, id)
	}
	if task.id == "" {
		err = errEmptyIdentity
	}
	return req, err
}

// note counts the outcome of a task.
func (u *warmUp) note(ctx context.Context, task warmTask, r *cache.Result) {
	if r.Outcome != cache.OutcomeError {
		u.count(r)
		return
	}
	var fromSource *cache.SourceError
	switch {
	case ctx.Err() != nil:
	case errors.As(r.Err, &fromSource):
		u.fail(task, "the source failed")
	case errors.Is(r.Err, cache.ErrInvalidRecord):
		u.fail(task, "the stored value is not a record")
	case errors.Is(r.Err, cache.ErrClosed):
		u.cancel(errReplaced)
	default:
		u.fail(task, "the store failed")
		u.storeFailed()
	}
}

// count counts a load that did not fail.
func (u *warmUp) count(r *cache.Result) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.outage = 0
	u.counts.Done++
	switch {
	case r.Hit:
		u.counts.Present++
		return
	case r.Outcome == cache.OutcomeAbsent:
		u.counts.Absent++
	case r.Outcome == cache.OutcomeDenied:
		u.counts.Denied++
	default:
		u.counts.Loaded++
	}
	if !r.Stored {
		u.counts.Unstored++
	}
}

func (u *warmUp) fail(task warmTask, why string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts.Done++
	u.counts.Errors++
	if len(u.counts.Failed) < maxWarmFailures {
		u.counts.Failed = append(u.counts.Failed, wire.WarmFailure{Index: task.index, Error: why})
	}
}

// storeFailed ends the warm-up if the store keeps failing.
func (u *warmUp) storeFailed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.outage++; u.outage >= warmPatience {
		u.cancel(errStoreGone)
	}
}

// progress returns the current counts.
func (u *warmUp) progress() wire.WarmProgress {
	u.mu.Lock()
	defer u.mu.Unlock()
	line := u.counts
	line.Failed = nil
	seconds := time.Since(u.started).Seconds()
	line.Seconds = rounded(seconds)
	if seconds > 0 {
		line.PerSecond = rounded(float64(line.Done) / seconds)
	}
	return line
}

// result returns the last line. cause is why the warm-up ended early, or nil.
func (u *warmUp) result(cause error) wire.WarmProgress {
	line := u.progress()
	u.mu.Lock()
	defer u.mu.Unlock()
	line.Failed = u.counts.Failed
	if line.Finished = cause == nil; !line.Finished {
		line.Error = cause.Error()
	}
	return line
}

// rounded rounds to thousandths.
func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }
