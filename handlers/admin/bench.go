package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	maxBenchBody = 4 << 10
	// benchTTL is the TTL of the records, in case they cannot be dropped.
	benchTTL = time.Minute
)

// bench measures how long it takes to write and read records, one at a time and
// in batches. It uses the running store and its pool, without near copies. The
// records are the plugin's own and are dropped at the end.
func bench(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	body, err := readBody(r, maxBenchBody)
	if err != nil {
		return err
	}
	what, err := whatToBench(body, app.Policy().MaxValueSize)
	if err != nil {
		return err
	}
	if err := ping(r, app); err != nil {
		return err
	}
	b := newBenchmark(what, app)
	defer b.clean(r.Context())
	answer := wire.BenchReport{Store: app.Cache().Store().Name(), BenchRequest: what, Sequential: b.run(r.Context(), 1)}
	if what.Concurrency > 1 {
		answer.Concurrent = b.run(r.Context(), what.Concurrency)
	}
	return writeJSON(w, answer)
}

// whatToBench reads the body of a bench, which may be empty.
func whatToBench(body []byte, maxValueSize int) (wire.BenchRequest, error) {
	what := wire.BenchRequest{Count: 1000, Size: min(256, maxValueSize), Batch: 100, Concurrency: 1}
	if len(bytes.TrimSpace(body)) > 0 && decodeStrictly(body, &what) != nil {
		return wire.BenchRequest{}, refuse(http.StatusBadRequest, `body is not a JSON object with the right fields: want count, size, batch and concurrency, or some of them`)
	}
	return what, badRequest(what.Check(maxValueSize))
}

func benchRecord(padding string) string { return `{"p":"` + padding + `"}` }

// benchmark is a bench under way.
type benchmark struct {
	wire.BenchRequest
	cache  *cache.Cache
	record *cache.Record
	keys   []string
}

func newBenchmark(what wire.BenchRequest, app lookup.App) *benchmark {
	b := &benchmark{BenchRequest: what, cache: app.Cache(), keys: make([]string, what.Count)}
	text := benchRecord(strings.Repeat("x", what.Size-len(benchRecord(""))))
	b.record, _ = cache.Decode(text, what.Size) // it is one
	prefix := app.Policy().KeyPrefix + cache.OwnPrefix + "bench:" + rand.Text() + ":"
	for i := range b.keys {
		b.keys[i] = prefix + strconv.Itoa(i)
	}
	return b
}

// clean drops the records, even if the client has left.
func (b *benchmark) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminTimeout)
	defer cancel()
	_, _ = b.cache.Delete(ctx, b.keys...) // otherwise they expire
}

func (b *benchmark) run(ctx context.Context, concurrency int) *wire.BenchRun {
	return &wire.BenchRun{
		Set: b.measure(ctx, concurrency, 1, func(ctx context.Context, keys []string) bool {
			return b.cache.Set(ctx, keys[0], b.record, benchTTL) == nil
		}),
		Get: b.measure(ctx, concurrency, 1, func(ctx context.Context, keys []string) bool {
			entry, err := b.cache.Get(ctx, keys[0])
			return err == nil && b.is(entry)
		}),
		SetMany: b.measure(ctx, concurrency, b.Batch, func(ctx context.Context, keys []string) bool {
			items := make([]cache.Item, len(keys))
			for i, key := range keys {
				items[i] = cache.Item{Key: key, Record: b.record, TTL: benchTTL}
			}
			return b.cache.SetMany(ctx, items) == nil
		}),
		GetMany: b.measure(ctx, concurrency, b.Batch, func(ctx context.Context, keys []string) bool {
			got, err := b.cache.GetMany(ctx, keys)
			return err == nil && !slices.ContainsFunc(got, func(g cache.Got) bool { return !b.is(g.Entry) })
		}),
	}
}

func (b *benchmark) is(entry cache.Entry) bool {
	return entry.Record != nil && entry.Record.Text() == b.record.Text()
}

// measure calls call for batches of the keys, with this concurrency. It ends when the
// client leaves.
func (b *benchmark) measure(ctx context.Context, concurrency, batch int, call func(context.Context, []string) bool) wire.BenchOperation {
	batches := slices.Collect(slices.Chunk(b.keys, batch))
	took := make([]time.Duration, len(batches))
	var next, failed atomic.Int64
	var group sync.WaitGroup
	started := time.Now()
	for range concurrency {
		group.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(batches) && ctx.Err() == nil; i = next.Add(1) - 1 {
				ctx, cancel := context.WithTimeout(ctx, adminTimeout)
				began := time.Now()
				if !call(ctx, batches[i]) {
					failed.Add(1)
				}
				took[i] = time.Since(began)
				cancel()
			}
		})
	}
	group.Wait()
	seconds := time.Since(started).Seconds()
	slices.Sort(took)
	return wire.BenchOperation{
		Operations: len(batches), Records: len(b.keys), Errors: int(failed.Load()),
		Seconds: rounded(seconds), PerSecond: rounded(float64(len(b.keys)) / seconds),
		Latency: wire.Quantiles{P50: quantile(took, 0.5), P95: quantile(took, 0.95), P99: quantile(took, 0.99)},
	}
}

// quantile returns a quantile in milliseconds. sorted is in ascending order and not
// empty.
func quantile(sorted []time.Duration, q float64) float64 {
	return wire.Milliseconds(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))])
}
