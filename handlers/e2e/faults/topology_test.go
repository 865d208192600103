// Sentinel and cluster. The nodes discover their servers, so there is no proxy between
// them.

package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// newFleetOf starts nodes with this redis block.
func newFleetOf(t *testing.T, block string, truth redis.UniversalClient) *fleet {
	t.Helper()
	t.Cleanup(func() { _ = truth.Close() })
	f := &fleet{t: t, truth: truth, nodes: []*node{{}, {}, {}}}
	f.option = func(int) string { return "\tfilewallball {\n\t\tredis " + block + "\n\t}" }
	f.start()
	return f
}

func newSentinelFleet(t *testing.T) *fleet {
	t.Helper()
	sentinel := redistest.StartSentinel(t)
	block := strings.Join(sentinel.Addrs(), " ") + " {\n\t\t\tclient_type failover\n\t\t\tmaster_name " + sentinel.MasterName + "\n\t\t}"
	truth := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: sentinel.MasterName, SentinelAddrs: sentinel.Addrs(), DisableIdentity: true})
	f := newFleetOf(t, block, truth)
	f.sentinel = sentinel
	return f
}

func newClusterFleet(t *testing.T) *fleet {
	t.Helper()
	cluster := redistest.StartCluster(t, 3, 1)
	block := strings.Join(cluster.Addrs(), " ") + " {\n\t\t\tclient_type cluster\n\t\t}"
	truth := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), DisableIdentity: true, ClusterStateReloadInterval: time.Second})
	f := newFleetOf(t, block, truth)
	f.cluster = cluster
	return f
}

// topologies are the rows that need more servers than one.
var topologies = []row{
	{
		name: "the master of a Sentinel is killed", long: true,
		start: newSentinelFleet,
		inject: func(f *fleet) func() {
			f.sentinel.Master().Kill()
			return func() {}
		},
		lasts: time.Second, stale: time.Second, recovery: 10 * time.Second, loses: true,
	},
	{
		name: "a Sentinel fails over on command", long: true,
		start:  newSentinelFleet,
		inject: failOver,
		lasts:  time.Second, stale: time.Second, recovery: 2 * time.Second, loses: true,
	},
	{
		name: "a Sentinel fails over to a replica without the last writes", long: true,
		start:  newSentinelFleet,
		inject: failOverWithoutTheLastWrites,
		lasts:  time.Second, stale: time.Second, recovery: 2 * time.Second, loses: true,
	},
	{
		name: "a master of a cluster is killed", long: true,
		start: newClusterFleet,
		inject: func(f *fleet) func() {
			f.cluster.Masters[0].Kill()
			return func() {}
		},
		lasts: time.Second, stale: time.Second, recovery: 10 * time.Second, loses: true,
	},
	{
		name: "slots move between the masters of a cluster", long: true,
		start: newClusterFleet,
		inject: func(f *fleet) func() {
			masters := f.cluster.Masters
			return f.repeat(20*time.Millisecond, func(n int) { moveSlot(f.t, masters[0], masters[1], masters, n) })
		},
		lasts: 4 * time.Second, stale: time.Second, recovery: 2 * time.Second, calm: true,
	},
}

// failOver commands a Sentinel to make the replica the master.
func failOver(f *fleet) func() {
	before := f.sentinel.Master().Addr()
	client := redis.NewSentinelClient(&redis.Options{Addr: f.sentinel.Addrs()[0], DisableIdentity: true})
	defer client.Close()
	require.NoError(f.t, client.Failover(f.t.Context(), f.sentinel.MasterName).Err())
	require.Eventually(f.t, func() bool { return f.sentinel.Master().Addr() != before }, 20*time.Second, 10*time.Millisecond)
	return func() {}
}

// failOverWithoutTheLastWrites cuts the replica off, revokes sessions, and kills the
// master. Those revocations are lost, as the documentation says; near copies must agree
// with what the new master has.
func failOverWithoutTheLastWrites(f *fleet) func() {
	master := f.sentinel.Master()
	for _, server := range f.sentinel.Servers {
		if server.Addr() != master.Addr() {
			server.Pause()
			defer server.Continue()
		}
	}
	for _, id := range f.oracle.allLive()[:5] {
		require.NoError(f.t, master.Client().Del(f.t.Context(), key(id)).Err())
		f.oracle.gone(id, time.Now())
	}
	master.Kill()
	return func() {
		require.Eventually(f.t, func() bool { return f.sentinel.Master().Addr() != master.Addr() }, 30*time.Second, 10*time.Millisecond)
	}
}

// moveSlot moves a slot with its keys, as redis-cli --cluster reshard does.
func moveSlot(t *testing.T, from, to *redistest.Server, all []*redistest.Server, slot int) {
	ctx := t.Context()
	fromID, err := from.Client().ClusterMyID(ctx).Result()
	require.NoError(t, err)
	toID, err := to.Client().ClusterMyID(ctx).Result()
	require.NoError(t, err)
	host, port, _ := strings.Cut(to.Addr(), ":")
	require.NoError(t, to.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID).Err())
	require.NoError(t, from.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID).Err())
	for {
		keys, err := from.Client().ClusterGetKeysInSlot(ctx, slot, 100).Result()
		require.NoError(t, err)
		if len(keys) == 0 {
			break
		}
		command := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, key := range keys {
			command = append(command, key)
		}
		require.NoError(t, from.Client().Do(ctx, command...).Err())
	}
	for _, node := range all {
		require.NoError(t, node.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", toID).Err())
	}
}
