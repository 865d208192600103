package cachetest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func concurrencyTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"of many at once one gets the lease":               testOneOfMany,
		"no load outlives an invalidation":                 testInvalidation,
		"no load outlives an invalidation by prefix":       testInvalidationByPrefix,
		"everything may be called at once from everywhere": testEverything,
	}
}

const workers = 8

// together runs work in several goroutines at once and waits for them.
func together(work func(worker int)) {
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() { work(worker) })
	}
	group.Wait()
}

func testOneOfMany(t *testing.T, f *fixture) {
	var holders, leases atomic.Int32
	together(func(int) {
		for range 50 {
			token, now, err := f.Acquire(f.ctx, f.key("a"), nil, ttl, false)
			if !assert.NoError(t, err) || !assert.Nil(t, now.Record) || token == "" {
				continue
			}
			leases.Add(1)
			assert.EqualValues(t, 1, holders.Add(1))
			holders.Add(-1)
			assert.NoError(t, f.Release(f.ctx, f.key("a"), token))
		}
	})
	require.Positive(t, leases.Load())
	f.lease(t, f.key("a"), nil)
}

func testInvalidation(t *testing.T, f *fixture) {
	testLoads(t, f, nil, func(key string) error {
		_, err := f.Delete(f.ctx, key)
		return err
	})
}

func testInvalidationByPrefix(t *testing.T, f *fixture) {
	testLoads(t, f, nil, func(key string) error {
		_, err := f.DeletePrefix(f.ctx, key)
		return err
	})
}

// testLoads lets loads of a version race with invalidations after a change of
// it. A version from before an invalidation must never be seen after it.
func testLoads(t *testing.T, f *fixture, tags []string, invalidate func(key string) error) {
	key := f.key("a")
	var version atomic.Int64
	ctx, stop := context.WithCancel(f.ctx)
	var loaders sync.WaitGroup
	defer loaders.Wait()
	defer stop()
	for range workers / 2 {
		loaders.Go(func() {
			for ctx.Err() == nil {
				token, now, err := f.Acquire(f.ctx, key, nil, ttl, tags != nil)
				if !assert.NoError(t, err) {
					return
				}
				if token == "" {
					runtime.Gosched()
					continue
				}
				record, err := cache.Encode(map[string]int64{"version": version.Load()}, 100)
				if !assert.NoError(t, err) {
					return
				}
				_, err = f.Fill(f.ctx, key, token, now.Old, record, tags, ttl)
				assert.NoError(t, err)
			}
		})
	}
	for round := range 300 {
		// the second one finds loads under way
		for range 2 + round%3 {
			version.Add(1)
			require.NoError(t, invalidate(key))
		}
		var entry cache.Entry
		eventually(t, func() bool {
			var err error
			entry, err = f.Get(f.ctx, key)
			require.NoError(t, err)
			return entry.Record != nil
		})
		v, _ := entry.Record.Field("version")
		got, _ := v.Int()
		require.Equal(t, version.Load(), got)
	}
}

func testEverything(t *testing.T, f *fixture) {
	text := make(map[string]bool)
	for i := range 4 {
		text[fmt.Sprintf(`{"n":%d}`, i)] = true
	}
	together(func(worker int) {
		r := record(t, fmt.Sprintf(`{"n":%d}`, worker%4))
		for i := range 60 {
			key := f.key(fmt.Sprintf("k%d", i%5))
			assert.NoError(t, f.Set(f.ctx, key, r, ttl))
			entry, err := f.Get(f.ctx, key)
			if assert.NoError(t, err) && entry.Record != nil {
				assert.Contains(t, text, entry.Record.Text())
			}
			_, err = f.Touch(f.ctx, key, nil, ttl)
			assert.NoError(t, err)
			token, now, err := f.Acquire(f.ctx, key, entry.Record, ttl, false)
			assert.NoError(t, err)
			assert.False(t, token != "" && now.Record != nil)
			_, err = f.Fill(f.ctx, key, token, entry.Record, r, nil, ttl)
			assert.NoError(t, err)
			_, err = f.GetMany(f.ctx, []string{key, f.key("k0")})
			assert.NoError(t, err)
			assert.NoError(t, f.SetMany(f.ctx, []cache.Item{{Key: key, Record: r, TTL: ttl}}))
			_, _, err = f.Scan(f.ctx, f.key(""), "", 3)
			assert.NoError(t, err)
			if worker == 0 && i%10 == 0 {
				_, err = f.DeletePrefix(f.ctx, f.key(""))
			} else {
				_, err = f.Delete(f.ctx, key)
			}
			assert.NoError(t, err)
			_, err = f.Info(f.ctx)
			assert.NoError(t, err)
			assert.NoError(t, f.Ping(f.ctx))
		}
	})
}
