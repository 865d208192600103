// Package cachetest is the conformance suite of stores: what [cache.Store]
// promises, as tests that every store passes.
package cachetest

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// ttl is one that no test outlives.
	ttl = time.Hour
	// short is one that a test waits for.
	short = 50 * time.Millisecond
	// patience is how long a condition may take to come true.
	patience = 10 * time.Second
)

// Run runs the suite. open opens a store that takes records of up to
// [cache.DefaultMaxValueSize]; the suite closes it. Stores may share a server
// with others, for every test keeps to keys of its own.
func Run(t *testing.T, open func(t *testing.T) cache.Store) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, *fixture)
	}{
		{"records", recordTests()},
		{"adding", addingTests()},
		{"listing", listingTests()},
		{"leases", leaseTests()},
		{"tags", tagTests()},
		{"concurrency", concurrencyTests()},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					store := open(t)
					t.Cleanup(func() { assert.NoError(t, store.Close()) })
					test(t, newFixture(t, store))
				})
			}
		})
	}
	t.Run("a closed store says so", func(t *testing.T) {
		t.Parallel()
		testClosed(t, open(t))
	})
}

// fixture is a store with keys that no other test has.
type fixture struct {
	cache.Store
	ctx  context.Context
	base string
}

func newFixture(t *testing.T, store cache.Store) *fixture {
	return &fixture{Store: store, ctx: t.Context(), base: "cachetest:" + rand.Text() + ":"}
}

func (f *fixture) key(name string) string { return f.base + name }

// set writes a record for later.
func (f *fixture) set(t *testing.T, key, text string) *cache.Record {
	t.Helper()
	r := record(t, text)
	require.NoError(t, f.Set(f.ctx, key, r, ttl))
	return r
}

// text is what is stored under the key, "" for nothing.
func (f *fixture) text(t *testing.T, key string) string {
	t.Helper()
	entry, err := f.Get(f.ctx, key)
	require.NoError(t, err)
	if entry.Record == nil {
		return ""
	}
	return entry.Record.Text()
}

// lease takes the key's lease, which must be free.
func (f *fixture) lease(t *testing.T, key string, old *cache.Record) string {
	t.Helper()
	token, now, err := f.Acquire(f.ctx, key, old, ttl, false)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	require.Nil(t, now.Record)
	return token
}

// fill fills and reports whether it was let.
func (f *fixture) fill(t *testing.T, key, token string, old *cache.Record, text string) bool {
	t.Helper()
	filled, err := f.Fill(f.ctx, key, token, old, record(t, text), nil, ttl)
	require.NoError(t, err)
	return filled
}

// eventually waits for a condition, which may fail the test by itself.
func eventually(t *testing.T, condition func() bool, what ...any) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			require.Fail(t, "never came true", what...)
		}
	}
}

// gone waits for a record to expire.
func (f *fixture) gone(t *testing.T, key string) {
	t.Helper()
	eventually(t, func() bool { return f.text(t, key) == "" }, key)
}

// scan lists all keys with the prefix, each once, in order.
func (f *fixture) scan(t *testing.T, prefix string, limit int) []string {
	t.Helper()
	var all []string
	cursor := ""
	for {
		keys, next, err := f.Scan(f.ctx, prefix, cursor, limit)
		require.NoError(t, err)
		all = append(all, keys...)
		if next == "" {
			slices.Sort(all)
			return slices.Compact(all)
		}
		require.NotEqual(t, cursor, next, "the cursor moves on")
		cursor = next
	}
}

func record(t *testing.T, text string) *cache.Record {
	t.Helper()
	r, err := cache.Decode(text, 2*cache.DefaultMaxValueSize)
	require.NoError(t, err)
	return r
}

// awkward are keys with what means something to a glob, a hash slot, a script
// or a terminal, each at the start, the end and in the middle.
func awkward(base string) []string {
	var keys []string
	for _, part := range []string{
		"{", "}", "{}", "{}{a}", "{a}", "}{", "{a", "*", "?", "[a-z]", "[", "]", `\`, `\*`, "^", " ", "  a b ",
		"%", "'", `"`, "$1", "é", "日本語", "🔑", "\u2028", ":", "lease", strings.Repeat("k", 600),
	} {
		keys = append(keys, part+base, base+part, base+part+"x")
	}
	return keys
}
