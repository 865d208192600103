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
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

// progress is how far a warm-up is: Done is the sum of the five that follow.
type progress struct {
	Done    int `json:"done"`
	Total   int `json:"total"`   // -1 while it is not known
	Loaded  int `json:"loaded"`  // the source had it
	Present int `json:"present"` // the store had it, be it as an absence
	Absent  int `json:"absent"`  // the source has nothing
	Denied  int `json:"denied"`  // the source refuses it
	Errors  int `json:"errors"`
	// Unstored are those that the source answered and the store did not take,
	// most likely because the source forbids it.
	Unstored  int     `json:"unstored"`
	PerSecond float64 `json:"per_second"`
	Seconds   float64 `json:"seconds"`
	// Finished tells that all was tried. Without it, and without an Error,
	// more is to come.
	Finished bool          `json:"finished"`
	Failed   []warmFailure `json:"failed,omitempty"` // the first of them
	Error    string        `json:"error,omitempty"`
}

// warmFailure names an identity by its place in the list, never by itself; what
// a source lists by itself has the place -1.
type warmFailure struct {
	Index int    `json:"index"`
	Error string `json:"error"`
}

var (
	errReplaced  = errors.New("the configuration was replaced: ask the new one")
	errStoreGone = errors.New("the store is unavailable: the log says why")
)

const (
	maxWarmFailures = 100
	// so many failures of the store in a row end a warm-up
	warmPatience = 20
)

// warmUp is a warm-up under way.
type warmUp struct {
	request warmRequest
	lookups []*lookup.Lookup
	repl    *caddy.Replacer
	cancel  context.CancelCauseFunc
	started time.Time

	mu     sync.Mutex
	so     progress
	outage int // failures of the store in a row
}

func newWarmUp(request warmRequest, lookups []*lookup.Lookup, repl *caddy.Replacer, cancel context.CancelCauseFunc) *warmUp {
	u := &warmUp{request: request, lookups: lookups, repl: repl, cancel: cancel, started: time.Now()}
	u.so.Total = -1
	if request.IDs != nil {
		u.so.Total = len(request.IDs) * len(lookups)
	}
	return u
}

// warmTask is one identity of one lookup.
type warmTask struct {
	lookup *lookup.Lookup
	id     string
	index  int // in the list, -1 without one
}

// start begins to load. The channel closes when all is done, or ctx has ended.
func (u *warmUp) start(ctx context.Context) (done chan struct{}) {
	tasks := make(chan warmTask)
	var group sync.WaitGroup
	group.Go(func() {
		defer close(tasks)
		u.feed(ctx, tasks)
	})
	for range u.request.Concurrency {
		group.Go(func() {
			for task := range tasks {
				u.load(ctx, task)
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

// feed hands out what is to be loaded, as fast as it may.
func (u *warmUp) feed(ctx context.Context, tasks chan<- warmTask) {
	limit := rate.Inf
	if u.request.Rate > 0 {
		limit = rate.Limit(u.request.Rate)
	}
	limiter := rate.NewLimiter(limit, 1)
	total := 0
	for _, lookup := range u.lookups {
		for task, err := range u.tasks(ctx, lookup) {
			total++
			if err != nil {
				u.fail(task, err.Error())
				continue
			}
			if limiter.Wait(ctx) != nil {
				return
			}
			select {
			case tasks <- task:
			case <-ctx.Done():
				return
			}
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.so.Total = total
}

// tasks are the identities to load of one lookup. An error is a part of what
// the source has that it cannot list.
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

// load does one of them.
func (u *warmUp) load(ctx context.Context, task warmTask) {
	if ctx.Err() != nil {
		return
	}
	var req cache.Request
	id, err := task.lookup.ParseIdentity(task.id)
	if err == nil {
		req, err = task.lookup.Request(nil, u.repl, id)
	}
	if task.id == "" {
		err = errEmptyIdentity
	}
	if err != nil {
		u.fail(task, err.Error())
		return
	}
	r := task.lookup.Records().Warm(ctx, req)
	if r.Outcome != cache.OutcomeError {
		u.count(&r)
		return
	}
	var fromSource *cache.SourceError
	switch {
	case ctx.Err() != nil:
	case errors.As(r.Err, &fromSource):
		u.fail(task, "the source failed")
	case errors.Is(r.Err, cache.ErrInvalidRecord):
		u.fail(task, "what is stored is no record")
	case errors.Is(r.Err, cache.ErrClosed):
		u.cancel(errReplaced)
	default:
		u.fail(task, "the store failed")
		u.storeFailed()
	}
}

// count notes what became of one that was no failure.
func (u *warmUp) count(r *cache.Result) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.outage = 0
	u.so.Done++
	switch {
	case r.Hit:
		u.so.Present++
		return
	case r.Outcome == cache.OutcomeAbsent:
		u.so.Absent++
	case r.Outcome == cache.OutcomeDenied:
		u.so.Denied++
	default:
		u.so.Loaded++
	}
	if !r.Stored {
		u.so.Unstored++
	}
}

func (u *warmUp) fail(task warmTask, why string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.so.Done++
	u.so.Errors++
	if len(u.so.Failed) < maxWarmFailures {
		u.so.Failed = append(u.so.Failed, warmFailure{task.index, why})
	}
}

// storeFailed ends what has no use without the store.
func (u *warmUp) storeFailed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.outage++; u.outage >= warmPatience {
		u.cancel(errStoreGone)
	}
}

// progress is how far it is now.
func (u *warmUp) progress() progress {
	u.mu.Lock()
	defer u.mu.Unlock()
	so := u.so
	so.Failed = nil
	seconds := time.Since(u.started).Seconds()
	so.Seconds = rounded(seconds)
	if seconds > 0 {
		so.PerSecond = rounded(float64(so.Done) / seconds)
	}
	return so
}

// result is how it has ended. cause is why it was stopped, if it was.
func (u *warmUp) result(cause error) progress {
	so := u.progress()
	u.mu.Lock()
	defer u.mu.Unlock()
	so.Failed = u.so.Failed
	if so.Finished = cause == nil; !so.Finished {
		so.Error = cause.Error()
	}
	return so
}

// rounded is to thousandths.
func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }
