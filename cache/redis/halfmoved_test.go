package redis

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// In a slot that stays half-way moved, a record is loaded once and stored, as
// in any other.
func TestLoadsInASlotThatIsHalfWayMovedAreStored(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	src := &source{answer: func(context.Context, cache.Request) (cache.Loaded, error) {
		return cache.Loaded{Record: versioned(1)}, nil
	}}
	in := newFleet(t, 1, Options{Addresses: cluster.Addrs(), ClientType: Cluster}, cache.LookupOptions{Source: src})[0]
	ctx := t.Context()
	from, to := cluster.Masters[0], cluster.Masters[1]
	key := ""
	for i := 0; key == "" || slotOf(key) >= slotCount/3; i++ { // one of the first master's
		key = fmt.Sprint("session:user:", i)
	}
	slot := slotOf(key)
	fromID, err := from.Client().ClusterMyID(ctx).Result()
	require.NoError(t, err)
	toID, err := to.Client().ClusterMyID(ctx).Result()
	require.NoError(t, err)
	require.NoError(t, to.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID).Err())
	require.NoError(t, from.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID).Err())

	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			r := in.look(key)
			if n, ok := version(&r); !ok || n != 1 {
				t.Errorf("the lookup ended as %s: %v", r.Outcome, r.Err)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, src.asked.Load())
	entry, err := in.store.Get(ctx, key)
	require.NoError(t, err)
	require.NotNil(t, entry.Record, "the record was not stored")

	_, err = in.Delete(ctx, key)
	require.NoError(t, err)
	r := in.look(key)
	require.True(t, r.Stored, "%+v", r)
	host, port, err := net.SplitHostPort(to.Addr())
	require.NoError(t, err)
	for { // what is still on the old master goes
		keys, err := from.Client().ClusterGetKeysInSlot(ctx, slot, 100).Result()
		require.NoError(t, err)
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			require.NoError(t, from.Client().Do(ctx, "MIGRATE", host, port, key, 0, 5000).Err())
		}
	}
	for _, node := range []*redistest.Server{to, from} {
		require.NoError(t, node.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", toID).Err())
	}
	r = in.look(key)
	require.True(t, r.OK())
	require.EqualValues(t, 2, src.asked.Load())
}
