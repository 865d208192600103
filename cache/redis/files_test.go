//go:build unix

package redis

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// exhaustFiles leaves this process no file descriptor until the test ends, or
// the returned function is called.
func exhaustFiles(t *testing.T) (mend func()) {
	t.Helper()
	var old syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	free, err := os.Open(os.DevNull)
	require.NoError(t, err)
	lowest := uint64(free.Fd())
	require.NoError(t, free.Close())
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: lowest, Max: old.Max}))
	mend = sync.OnceFunc(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old) })
	t.Cleanup(mend)
	_, err = os.Open(os.DevNull)
	require.ErrorIs(t, err, syscall.EMFILE)
	return mend
}

// Where this process has no file descriptor left for another connection, that
// says nothing about Redis: the connections there are go on.
func TestWithoutFileDescriptorsOpenConnectionsKeepWorking(t *testing.T) {
	server := redistest.Start(t)
	p := newProxy(t, server.Addr())
	s := open(t, Options{Addresses: []string{p.addr()}, PoolSize: 20, MaxRetries: -1})
	require.NoError(t, get(s, "k"))
	p.delay.Store(int64(5 * time.Millisecond))
	pool := s.Pool().Total
	mend := exhaustFiles(t)
	var failed, answered atomic.Int64
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			for range 20 {
				// not through the gatherer, which needs few connections
				if s.primary.Exists(t.Context(), "k").Err() != nil {
					failed.Add(1)
				} else {
					answered.Add(1)
				}
			}
		})
	}
	readers.Wait()
	t.Logf("%d answered, %d failed; %d connections before, %d after", answered.Load(), failed.Load(), pool, s.Pool().Total)
	require.Equal(t, "closed", s.Pool().Breaker)
	require.NoError(t, get(s, "k"))
	require.Zero(t, failed.Load())
	mend()
	require.Eventually(t, func() bool { return s.Pool().Total >= pool && get(s, "k") == nil }, patience, time.Millisecond)
}
