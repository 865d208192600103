package redis

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestInfoReportsTheFiguresOfTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	o := at(server)
	o.DB = new(int)
	*o.DB = 2
	s := open(t, o)
	require.NoError(t, s.Set(t.Context(), "k", record(t, "{}"), ttl))
	_, err := s.Get(t.Context(), "nothing")
	require.NoError(t, err)

	require.NoError(t, server.Client().Ping(t.Context()).Err(), "a second client is connected")

	info, err := s.Info(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^\d+\.\d+\.\d+$`, info.Version)
	require.Equal(t, "standalone", info.Mode)
	require.Equal(t, "master", info.Role)
	require.EqualValues(t, 1, info.Keys)
	require.EqualValues(t, 100<<20, info.MaxMemory)
	require.Equal(t, "allkeys-lru", info.MaxMemoryPolicy)
	require.InDelta(t, 100*float64(info.UsedMemory)/(100<<20), info.MemoryUsedPercent, 0.01)
	require.GreaterOrEqual(t, info.ConnectedClients, int64(2))
	require.Positive(t, info.CommandsProcessed)
	require.Positive(t, info.KeyspaceMisses)
	require.Zero(t, info.ClusterMasters)
}

func TestInfoSumsOverTheMastersOfACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	s := open(t, Options{Addresses: c.Addrs()})
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		require.NoError(t, s.Set(t.Context(), key, record(t, "{}"), ttl))
	}
	info, err := s.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, "cluster", info.Mode)
	require.Equal(t, 3, info.ClusterMasters)
	require.EqualValues(t, 7, info.Keys)
	require.EqualValues(t, 3, info.ConnectedReplicas)
	require.Zero(t, info.MaxMemory)
	require.Greater(t, info.MemoryUsedPercent, 0.0, "without maxmemory it is of the machine's memory")
	require.Less(t, info.MemoryUsedPercent, 100.0)
}
