package redis

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestScanListsKeysOfAllMasters(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addresses: redistest.StartCluster(t, 3, 0).Addrs()})
	var want []string
	var items []cache.Item
	for i := range 1000 {
		want = append(want, fmt.Sprintf("a:%04d", i))
		items = append(items, cache.Item{Key: want[i], Record: record(t, "{}"), TTL: ttl},
			cache.Item{Key: "b:" + want[i], Record: record(t, "{}"), TTL: ttl})
	}
	require.NoError(t, s.SetMany(t.Context(), items))
	keys := scanAll(t, s, "a:", 10)
	require.Equal(t, want, keys)

	n, err := s.DeletePrefix(t.Context(), "a:")
	require.NoError(t, err)
	require.Equal(t, len(want), n)
	require.Len(t, scanAll(t, s, "", 300), len(want), "the other keys are left")
}

func scanAll(t *testing.T, s *Store, prefix string, limit int) []string {
	t.Helper()
	var all []string
	for cursor := ""; ; {
		keys, next, err := s.Scan(t.Context(), prefix, cursor, limit)
		require.NoError(t, err)
		all, cursor = append(all, keys...), next
		if next == "" {
			slices.Sort(all)
			return slices.Compact(all)
		}
	}
}

func TestDeletePrefixDropsAllThatMastersAllow(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	s := open(t, Options{Addresses: cluster.Addrs()})
	var items []cache.Item
	for i := range 100 {
		items = append(items, cache.Item{Key: fmt.Sprint("a:", i), Record: record(t, "{}"), TTL: ttl})
	}
	for _, node := range cluster.Nodes() {
		require.NoError(t, s.SetMany(t.Context(), items))
		had := node.Client().DBSize(t.Context()).Val()
		require.NoError(t, node.Client().Do(t.Context(), "acl", "setuser", "default", "-scan").Err())
		n, err := s.DeletePrefix(t.Context(), "a:")
		require.NoError(t, node.Client().Do(t.Context(), "acl", "setuser", "default", "+scan").Err())
		require.ErrorContains(t, err, "deleting by prefix")
		require.Equal(t, len(items), n+int(had))
		require.Len(t, scanAll(t, s, "a:", 100), int(had), "only what that master has is left")
	}
}

func TestScanFindsRareKeysAmongMany(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	fillForeign(t, server, "foreign:", 50_000)
	s := open(t, at(server))
	require.NoError(t, s.Set(t.Context(), "mine:1", record(t, "{}"), ttl))
	keys, next, err := s.Scan(t.Context(), "mine:", "", 5)
	require.NoError(t, err)
	require.Equal(t, []string{"mine:1"}, keys)
	require.Empty(t, next)
}

func TestScanRefusesACursorOfItsUsersMaking(t *testing.T) {
	t.Parallel()
	s := open(t, at(redistest.Start(t)))
	for _, cursor := range []string{"0", "x", "-1-0-0", "99999-0-0", "0-0-0-0", "0 0 0", "00-0-0", "0-0-18446744073709551616"} {
		_, _, err := s.Scan(t.Context(), "", cursor, 10)
		require.ErrorContains(t, err, "cursor is not one", cursor)
	}
}

func TestScanRestartsAShardOnAnotherMaster(t *testing.T) {
	t.Parallel()
	shards := []shard{{slot: 0, server: "a"}, {slot: 5000, server: "b"}}
	for name, test := range map[string]struct {
		at, want position
		shard    int
	}{
		"start":             {position{}, position{0, "a", 0}, 0},
		"same master":       {position{5000, "b", 7}, position{5000, "b", 7}, 1},
		"another master":    {position{5000, "c", 7}, position{5000, "b", 0}, 1},
		"slots have moved":  {position{4000, "a", 7}, position{5000, "b", 0}, 1},
		"the last are gone": {position{6000, "c", 7}, position{6000, "c", 7}, 2},
	} {
		i, at := test.at.find(shards)
		require.Equal(t, test.shard, i, name)
		require.Equal(t, test.want, at, name)
	}
}

func TestDeletePrefixOfManyKeysServesOthersMeanwhile(t *testing.T) {
	t.Parallel()
	const many = 100_000
	server := redistest.Start(t)
	fillForeign(t, server, "purge:", many)
	fillForeign(t, server, "keep:", 100)
	s := open(t, at(server))
	done := make(chan struct{})
	go func() {
		defer close(done)
		n, err := s.DeletePrefix(t.Context(), "purge:")
		assert.NoError(t, err)
		assert.Equal(t, many, n)
	}()
	served := 0
	for ended := false; !ended; served++ {
		_, err := s.Get(t.Context(), "keep:1")
		require.NoError(t, err)
		select {
		case <-done:
			ended = true
		default:
		}
	}
	require.Greater(t, served, 10)
	require.Len(t, scanAll(t, s, "", 1000), 100)
}

// fillForeign writes n keys as another client.
func fillForeign(t testing.TB, server *redistest.Server, prefix string, n int) {
	t.Helper()
	_, err := server.Client().Pipelined(t.Context(), func(pipe goredis.Pipeliner) error {
		for i := range n {
			pipe.Set(t.Context(), prefix+strconv.Itoa(i), "{}", ttl)
		}
		return nil
	})
	require.NoError(t, err)
}
