package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestStampedeAsksTheSourceOnce(t *testing.T) {
	server := redistest.Start(t)
	s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		time.Sleep(100 * time.Millisecond) // so that all others come meanwhile
		return cache.Loaded{Record: versioned(1)}, nil
	}}
	fleet := newFleet(t, 3, Options{Addresses: []string{server.Addr()}},
		cache.LookupOptions{Source: s, LookupTimeout: 20 * time.Second})
	var group sync.WaitGroup
	var right atomic.Int64
	for i := range 1000 {
		group.Go(func() {
			result := fleet[i%3].look("session:user:hot")
			if n, _ := version(&result); n == 1 {
				right.Add(1)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1000, right.Load())
	// where the machine stood still until Redis counted as unreachable, nodes load on
	// their own
	most := 1
	for _, in := range fleet {
		if counts := in.Stats().StoreErrors.Counts(); counts.Reads+counts.Writes > 0 {
			t.Logf("round trips failed: %v", counts.ByReason)
			most = len(fleet)
		}
	}
	require.LessOrEqual(t, s.asked.Load(), int64(most))
}

func TestDeadHolderDelaysOthersNoLongerThanItsLease(t *testing.T) {
	server := redistest.Start(t)
	const lease = 500 * time.Millisecond
	s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(1)}, nil
	}}
	fleet := newFleet(t, 3, Options{Addresses: []string{server.Addr()}},
		cache.LookupOptions{Source: s, LookupTimeout: 20 * time.Second, LoadTimeout: 10 * time.Second})
	// a node that took the lease, asked the source, and died
	dead := open(t, Options{Addresses: []string{server.Addr()}})
	token, _, err := dead.Acquire(t.Context(), "session:user:hot", nil, lease, false)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	s.asked.Add(1)

	started := time.Now()
	var group sync.WaitGroup
	for i := range 300 {
		group.Go(func() { fleet[i%3].look("session:user:hot") })
	}
	group.Wait()
	t.Logf("others waited %s behind a lease of %s", time.Since(started), lease)
	require.EqualValues(t, 2, s.asked.Load(), "the dead one and one more")
	require.GreaterOrEqual(t, time.Since(started), lease-50*time.Millisecond)
	require.Less(t, time.Since(started), 10*time.Second)
}

// A load begins, the record is dropped or replaced, and then the load ends: the
// interleaving is forced, at the point where it would do harm.
func TestLoadThatWasOvertakenLeavesNothing(t *testing.T) {
	const key = "session:user:k"
	for name, c := range map[string]struct {
		overtake func(in *instance) error
		left     int64 // what is stored in the end; 0 is nothing
	}{
		"delete":        {func(in *instance) error { _, err := in.Delete(context.Background(), key); return err }, 0},
		"delete prefix": {func(in *instance) error { _, err := in.DeletePrefix(context.Background(), "session:"); return err }, 0},
		"delete tag":    {func(in *instance) error { return in.DropTag(context.Background(), "user:1") }, 0},
		"set":           {func(in *instance) error { return in.Set(context.Background(), key, versioned(7), time.Hour) }, 7},
		"foreign set": {func(in *instance) error {
			return in.store.primary.Set(context.Background(), key, versioned(7).Text(), time.Hour).Err()
		}, 7},
	} {
		for _, where := range []string{"same node", "another node"} {
			t.Run(name+" on "+where, func(t *testing.T) {
				server := redistest.Start(t)
				loading, resume := make(chan struct{}), make(chan struct{})
				var first sync.Once
				s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
					first.Do(func() { close(loading); <-resume })
					return cache.Loaded{Record: versioned(1)}, nil
				}}
				fleet := newFleet(t, 2, Options{Addresses: []string{server.Addr()}}, cache.LookupOptions{
					Source: s, LookupTimeout: 20 * time.Second,
					Tags: func(cache.Request, *cache.Record) []string { return []string{"user:1"} },
				})
				done := make(chan struct{})
				go func() {
					defer close(done)
					fleet[0].look(key)
				}()
				<-loading
				by := fleet[0]
				if where == "another node" {
					by = fleet[1]
				}
				require.NoError(t, c.overtake(by))
				close(resume)
				<-done
				entry, err := fleet[0].Get(t.Context(), key)
				require.NoError(t, err)
				if c.left == 0 {
					require.Nil(t, entry.Record, "the overtaken load filled what is old")
				} else {
					require.Equal(t, versioned(c.left).Text(), entry.Record.Text())
				}
				for _, in := range fleet {
					if result := in.look(key); c.left != 0 {
						n, _ := version(&result)
						require.Equal(t, c.left, n)
					}
				}
			})
		}
	}
}

func TestHotRecordIsRefreshedBeforeItExpires(t *testing.T) {
	server := redistest.Start(t)
	var n atomic.Int64
	s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(n.Add(1))}, nil
	}}
	fleet := newFleet(t, 2, Options{Addresses: []string{server.Addr()}},
		cache.LookupOptions{Source: s, TTL: 4 * time.Second, LookupTimeout: 10 * time.Second})
	for until := time.Now().Add(9 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		for _, in := range fleet {
			result := in.look("session:user:hot")
			require.True(t, result.OK())
			if result.Outcome == cache.OutcomeMiss {
				require.EqualValues(t, 1, n.Load(), "a request waited for a record that is used all the time")
			}
		}
	}
	require.Greater(t, n.Load(), int64(1))
	require.LessOrEqual(t, n.Load(), int64(4), "more than one refresh in each TTL")
}

func TestCappedRecordsAreNotRefreshedAllTheTime(t *testing.T) {
	server := redistest.Start(t)
	s := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(1), MaxTTL: time.Minute}, nil
	}}
	in := newFleet(t, 1, Options{Addresses: []string{server.Addr()}},
		cache.LookupOptions{Source: s, TTL: 24 * time.Hour, LookupTimeout: 10 * time.Second})[0]
	for range 2000 {
		result := in.look("session:user:hot")
		require.True(t, result.OK())
	}
	require.EqualValues(t, 1, s.asked.Load())
}
