// Sources and stores that do what a test tells them, and caches over them.

package cache_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
)

var errExpected = errors.New("expected")

// source is one that tests program.
type source struct {
	load  func(ctx context.Context, req cache.Request, old *cache.Record) (cache.Loaded, error)
	loads atomic.Int32
	// before happens when the source is asked.
	before func()
}

func (s *source) Name() string { return "test" }

func (s *source) Load(ctx context.Context, req cache.Request, old *cache.Record) (cache.Loaded, error) {
	s.loads.Add(1)
	if s.before != nil {
		s.before()
	}
	return s.load(ctx, req, old)
}

// answering is a source that always says the same.
func answering(loaded cache.Loaded, err error) *source {
	return &source{load: func(context.Context, cache.Request, *cache.Record) (cache.Loaded, error) { return loaded, err }}
}

// saying is a source that has one record.
func saying(t *testing.T, text string) *source {
	return answering(cache.Loaded{Record: decode(t, text)}, nil)
}

// gate is a source that says in entered when it is asked, and answers what it
// is given, or an error when its context ends.
type gate struct {
	source
	entered chan context.Context
	answer  chan cache.Loaded
}

func newGate() *gate {
	g := &gate{entered: make(chan context.Context, 1000), answer: make(chan cache.Loaded)}
	g.load = func(ctx context.Context, _ cache.Request, _ *cache.Record) (cache.Loaded, error) {
		g.entered <- ctx
		select {
		case loaded := <-g.answer:
			return loaded, nil
		case <-ctx.Done():
			return cache.Loaded{}, ctx.Err()
		}
	}
	return g
}

// wrapped is a store whose calls tests change. It is none that peeks.
type wrapped struct {
	cache.Store
	before func(ctx context.Context, call string) error

	mu    sync.Mutex
	calls map[string]int
}

func (w *wrapped) call(ctx context.Context, name string) error {
	w.mu.Lock()
	if w.calls == nil {
		w.calls = make(map[string]int)
	}
	w.calls[name]++
	w.mu.Unlock()
	if w.before == nil {
		return nil
	}
	return w.before(ctx, name)
}

func (w *wrapped) called(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[name]
}

func (w *wrapped) Get(ctx context.Context, key string) (cache.Entry, error) {
	if err := w.call(ctx, "get"); err != nil {
		return cache.Entry{}, err
	}
	return w.Store.Get(ctx, key)
}

func (w *wrapped) GetOrAcquire(ctx context.Context, key string, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	if err := w.call(ctx, "get"); err != nil {
		return "", cache.Entry{}, err
	}
	return w.Store.GetOrAcquire(ctx, key, ttl, tagged)
}

func (w *wrapped) Acquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	if err := w.call(ctx, "acquire"); err != nil {
		return "", cache.Entry{}, err
	}
	return w.Store.Acquire(ctx, key, old, ttl, tagged)
}

func (w *wrapped) Reacquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool) (string, cache.Entry, *cache.Ended, error) {
	if err := w.call(ctx, "reacquire"); err != nil {
		return "", cache.Entry{}, nil, err
	}
	return w.Store.Reacquire(ctx, key, old, ttl, tagged)
}

func (w *wrapped) Abandon(ctx context.Context, key, token string, ended cache.Ended) error {
	if err := w.call(ctx, "abandon"); err != nil {
		return err
	}
	return w.Store.Abandon(ctx, key, token, ended)
}

func (w *wrapped) Fill(ctx context.Context, key, token string, old, record *cache.Record, tags []string, ttl time.Duration) (bool, error) {
	if err := w.call(ctx, "fill"); err != nil {
		return false, err
	}
	return w.Store.Fill(ctx, key, token, old, record, tags, ttl)
}

func (w *wrapped) Release(ctx context.Context, key, token string) error {
	if err := w.call(ctx, "release"); err != nil {
		return err
	}
	return w.Store.Release(ctx, key, token)
}

func (w *wrapped) Touch(ctx context.Context, key string, record *cache.Record, ttl time.Duration) (bool, error) {
	if err := w.call(ctx, "touch"); err != nil {
		return false, err
	}
	return w.Store.Touch(ctx, key, record, ttl)
}

func newStore(t testing.TB) *memory.Store {
	t.Helper()
	store, err := memory.New(memory.Options{})
	require.NoError(t, err)
	return store
}

func newCache(t testing.TB, store cache.Store) *cache.Cache {
	t.Helper()
	c := cache.New(store, cache.NewStats())
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// newLookup makes a lookup over sessions that stores absences.
func newLookup(t testing.TB, c *cache.Cache, options cache.LookupOptions) *cache.Lookup {
	t.Helper()
	if options.Name == "" {
		options.Name = "lookup"
	}
	if options.Family == "" {
		options.Family = cache.Session
	}
	if options.TTL == 0 {
		options.TTL = time.Hour
	}
	if options.NegativeTTL == 0 {
		options.NegativeTTL = cache.DefaultNegativeTTL
	}
	lookup, err := c.NewLookup(options)
	require.NoError(t, err)
	return lookup
}

var reqA = cache.Request{Key: "key:a", ID: "a"}

// bothWays runs a test over a store that peeks and over one that does not.
func bothWays(t *testing.T, test func(t *testing.T, c *cache.Cache)) {
	t.Helper()
	t.Parallel()
	t.Run("peeking", func(t *testing.T) {
		t.Parallel()
		test(t, newCache(t, newStore(t)))
	})
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		test(t, newCache(t, &wrapped{Store: newStore(t)}))
	})
}

func get(t *testing.T, c *cache.Cache, key string) cache.Entry {
	t.Helper()
	entry, err := c.Get(t.Context(), key)
	require.NoError(t, err)
	return entry
}

func requireStored(t *testing.T, c *cache.Cache, key, text string) {
	t.Helper()
	entry := get(t, c, key)
	require.NotNil(t, entry.Record, "nothing is stored")
	require.Equal(t, text, entry.Record.Text())
}

func requireNothingStored(t *testing.T, c *cache.Cache, key string) {
	t.Helper()
	require.Nil(t, get(t, c, key).Record)
	requireNoLease(t, c, key)
}

// requireNoLease checks that no lease is left behind, or only until it has been
// given back.
func requireNoLease(t *testing.T, c *cache.Cache, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		token, _, err := c.Store().Acquire(t.Context(), key, nil, time.Hour, false)
		require.NoError(t, err)
		require.NoError(t, c.Store().Release(t.Context(), key, token))
		return token != ""
	}, 10*time.Second, time.Millisecond, "a lease is left behind")
}
