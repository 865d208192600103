package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestAnOutageNeitherDelaysNorAdmitsRequests(t *testing.T) {
	server := redistest.Start(t)
	const timeout = 250 * time.Millisecond
	in := newFleet(t, 1, Options{Addresses: []string{server.Addr()}}, cache.LookupOptions{Strict: true, LookupTimeout: timeout})[0]
	write := func() {
		for i := range 50 {
			require.NoError(t, server.Client().Set(t.Context(), fmt.Sprint("session:user:", i), `{"v":1}`, time.Hour).Err())
		}
	}
	write()
	var phase atomic.Int32
	var mu sync.Mutex
	took := make(map[int32][]time.Duration)
	noise := startNoise(t)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				// one in four is unknown and must never be let in
				key := fmt.Sprint("session:user:", i%50)
				if i%4 == 0 {
					key = "session:user:unknown"
				}
				now, started := phase.Load(), time.Now()
				result := in.look(key)
				elapsed := time.Since(started)
				mu.Lock()
				took[now] = append(took[now], elapsed)
				mu.Unlock()
				if i%4 == 0 && result.OK() {
					t.Errorf("an unknown session was let in: %+v", result.Outcome)
				}
			}
		})
	}
	await := func(condition func() bool) {
		require.Eventually(t, condition, 20*time.Second, 5*time.Millisecond)
	}
	await(func() bool { return in.look("session:user:1").From == "near" })
	time.Sleep(500 * time.Millisecond) // to measure the phase
	phase.Store(1)
	server.Kill()
	await(func() bool { return in.store.Pool().Breaker == "open" })
	phase.Store(2)
	time.Sleep(500 * time.Millisecond) // to measure the phase
	require.False(t, func() bool { r := in.look("session:user:1"); return r.OK() }(), "let in while Redis is unreachable")
	server.Restart()
	back := time.Now()
	write()
	await(func() bool { r := in.look("session:user:1"); return r.OK() })
	well := time.Since(back)
	await(func() bool { return in.look("session:user:1").From == "near" })
	close(stop)
	group.Wait()
	noise.stop()
	t.Logf("well again after %s, from near copies after %s; noise: %s", well, time.Since(back), quantiles(noise.late))
	require.Less(t, well, 2*time.Second+noise.quantile(1), "promised is 2s")
	// a lookup waits for the processor several times, the noise is one such wait
	bound := timeout + healthyBound + 4*noise.quantile(1)
	for i, name := range []string{"before", "when it went", "while it was open and after"} {
		t.Logf("%s: %s", name, quantiles(took[int32(i)]))
		require.LessOrEqual(t, quantile(took[int32(i)], 1), bound, name)
	}
}

// Identities are what an attacker sends: each is another, and none is known.
func TestRandomIdentitiesTakeNoMoreMemoryThanIsGiven(t *testing.T) {
	server := redistest.Start(t)
	s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: cache.AbsentRecord()}, nil
	}}
	in := newFleet(t, 1, Options{Addresses: []string{server.Addr()}, PoolSize: 32}, cache.LookupOptions{
		Source: s, Strict: true, NegativeTTL: 10 * time.Minute, LookupTimeout: 20 * time.Second,
	})[0]
	total := 50_000
	if soak() {
		total = 1_000_000
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for range total / 32 {
				key := "session:user:" + rand.Text()
				if result := in.look(key); result.OK() {
					t.Error("let in")
				}
				in.look(key) // the second time it may be copied
			}
		})
	}
	group.Wait()
	grown := int64(heap()) - int64(before)
	const constant = 32 << 20 // what the client's buffers and the tables of the copies take
	t.Logf("%d identities: the heap grew by %d KiB, %+v", total, grown>>10, in.Near())
	require.Less(t, grown, in.Near().MaxBytes+constant)

	ctx := t.Context()
	for cursor := uint64(0); ; {
		keys, next, err := server.Client().Scan(ctx, cursor, "*", 1000).Result()
		require.NoError(t, err)
		pipe := server.Client().Pipeline()
		for _, key := range keys {
			pipe.PTTL(ctx, key)
		}
		if len(keys) > 0 {
			ttls, err := pipe.Exec(ctx)
			require.NoError(t, err)
			for i, ttl := range ttls {
				require.NotContains(t, ttl.String(), "-1", "a key has no TTL: %s", keys[i])
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
}
