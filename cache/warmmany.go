// Warming many records at a time, with few round trips: one takes their leases, and
// one fills them. It is for sources that load as fast as the file system does,
// because all leases of a batch are held until its last load has ended.

package cache

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// BatchLoader is a [Store] that takes and uses the leases of many keys in a few
// round trips.
type BatchLoader interface {
	// AcquireMany is [Store].Acquire for keys that have no record, without tags. One
	// token holds all leases that were taken; taken is in the order of the keys, and
	// nil where the store cannot do it. A token returned with an error may hold
	// some of the leases.
	AcquireMany(ctx context.Context, keys []string, ttl time.Duration) (token string, taken []bool, err error)
	// FillMany is [Store].Fill for leases of AcquireMany. filled is in the order of
	// the items. After an error, some may have been written.
	FillMany(ctx context.Context, token string, items []Item) (filled []bool, err error)
}

// WarmMany is [Lookup.Warm] for many requests, with at most loads loads at a time.
// The results are in the order of the requests.
func (l *Lookup) WarmMany(ctx context.Context, reqs []Request, loads int) []Result {
	results := make([]Result, len(reqs))
	alone := l.warmTogether(ctx, reqs, loads, results)
	inParallel(loads, len(alone), func(i int) { results[alone[i]] = l.Warm(ctx, reqs[alone[i]]) })
	return results
}

// inParallel calls work for each number below n, with at most most calls at a time.
func inParallel(most, n int, work func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(most, n) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	group.Wait()
}

// warmTogether sets the results of the requests whose records are stored, and of
// those whose leases it gets. It returns the indexes of the others.
func (l *Lookup) warmTogether(ctx context.Context, reqs []Request, loads int, results []Result) (alone []int) {
	store, ok := l.cache.store.(BatchLoader)
	if !ok || l.options.Tags != nil || l.options.Source == nil {
		return indexes(len(reqs))
	}
	keys := make([]string, len(reqs))
	for i := range reqs {
		keys[i] = reqs[i].Key
	}
	read, cancel := l.cache.withTimeout(ctx, len(keys))
	defer cancel()
	got, err := l.cache.GetMany(read, keys)
	if err != nil {
		return indexes(len(reqs))
	}
	now := time.Now()
	var missing []int
	seen := make(map[string]bool, len(reqs))
	for i, g := range got {
		if g.Err == nil && g.stored() == nil && !seen[keys[i]] {
			seen[keys[i]] = true
			missing = append(missing, i)
			continue
		}
		if g.Err == nil && g.Record != nil {
			if record, ok := l.current(ctx, reqs[i], g.Record, now); ok {
				results[i] = Result{Outcome: OutcomeHit, Record: record, Hit: true, From: l.cache.store.Name(), TTL: g.TTL(now)}
				continue
			}
		}
		alone = append(alone, i)
	}
	return append(alone, l.fillMissing(ctx, store, reqs, missing, loads, results)...)
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// fillMissing loads the records of these requests under leases that are taken
// together. It returns the indexes of those whose leases it did not get.
func (l *Lookup) fillMissing(ctx context.Context, store BatchLoader, reqs []Request, missing []int, loads int, results []Result) (alone []int) {
	if len(missing) == 0 {
		return nil
	}
	keys := make([]string, len(missing))
	for i, index := range missing {
		keys[i] = reqs[index].Key
	}
	began := time.Now()
	taking, cancel := l.cache.withTimeout(ctx, len(keys))
	defer cancel()
	token, taken, err := store.AcquireMany(taking, keys, l.leaseTTL())
	if err != nil {
		for _, key := range keys {
			l.cache.giveBacks.add(key, token, l.leaseTTL())
		}
		return missing // each is tried once more
	}
	batch := &warmBatch{lookup: l, store: store, token: token}
	for i, index := range missing {
		if taken == nil || !taken[i] {
			alone = append(alone, index)
			continue
		}
		batch.loads = append(batch.loads, warmLoad{req: reqs[index], result: &results[index]})
	}
	ctx, stop := context.WithDeadlineCause(ctx, began.Add(l.options.LoadTimeout), errTooLate)
	defer stop()
	inParallel(loads, len(batch.loads), func(i int) { batch.loads[i].run(ctx, l) })
	batch.fill(ctx)
	return alone
}

// warmBatch are loads whose leases one token holds.
type warmBatch struct {
	lookup *Lookup
	store  BatchLoader
	token  string
	loads  []warmLoad
}

// warmLoad is one load of a batch.
type warmLoad struct {
	req    Request
	result *Result
	ended  *Ended // what waiting loads learn, if nothing is filled
	record *Record
	ttl    time.Duration // of the record; 0 where it is not stored
}

// run asks the source.
func (w *warmLoad) run(ctx context.Context, l *Lookup) {
	defer func() {
		if p := recover(); p != nil {
			w.ttl = 0
			*w.result, w.ended = Result{Outcome: OutcomeError, Err: fmt.Errorf("loading panicked: %v", p)}, &Ended{Failure: "the load panicked"}
		}
	}()
	slot := &slot{queue: l.slots}
	defer slot.give()
	if err := slot.take(ctx); err != nil {
		*w.result = notStarted(ctx, err)
		return
	}
	ticket := l.cache.ticket(w.req.Key, l.options.Strict)
	loaded, err := l.ask(ctx, w.req, nil)
	if err != nil {
		*w.result, w.ended = Result{Outcome: OutcomeError, Err: err}, failureOf(ctx, err)
		return
	}
	l.correctStale(w.req, ticket, loaded)
	*w.result, w.ended = l.resultOf(loaded), new(Ended)
	if record, ttl := l.toStore(loaded); record != nil {
		w.record, w.ttl = record, ttl
	}
}

// fill stores what was loaded, and ends the leases of the rest.
func (b *warmBatch) fill(ctx context.Context) {
	l := b.lookup
	var items []Item
	var filling []*warmLoad
	for i := range b.loads {
		w := &b.loads[i]
		if w.ttl == 0 {
			l.end(ctx, w.req.Key, b.token, w.ended)
			continue
		}
		items, filling = append(items, Item{Key: w.req.Key, Record: w.record, TTL: w.ttl}), append(filling, w)
	}
	if len(items) == 0 {
		return
	}
	var filled []bool
	err := l.finish(ctx, func(ctx context.Context) (err error) {
		filled, err = b.store.FillMany(ctx, b.token, items)
		return err
	})
	for i, w := range filling {
		switch {
		case err != nil:
			l.cache.giveBacks.add(w.req.Key, b.token, l.leaseTTL())
		case filled[i]:
			w.result.Stored, w.result.TTL = true, w.ttl
		}
	}
	l.cache.changed(keysOf(items)...)
}
