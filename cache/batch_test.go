package cache_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestRecordsAreWrittenReadAndDeletedDirectly(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	c := newCache(t, store)
	require.Same(t, store, c.Store())
	ctx := t.Context()

	require.NoError(t, c.Set(ctx, "a", decode(t, `{"n":1}`), time.Hour))
	require.NoError(t, c.SetMany(ctx, []cache.Item{
		{Key: "b", Record: decode(t, `null`), TTL: time.Hour},
		{Key: "c", Record: decode(t, `{"n":3}`), TTL: time.Minute},
	}))
	for key, want := range map[string]bool{"a": true, "b": true, "c": true, "d": false} {
		exists, err := c.Exists(ctx, key)
		require.NoError(t, err)
		require.Equal(t, want, exists, key)
		_, ok, err := c.TTL(ctx, key)
		require.NoError(t, err)
		require.Equal(t, want, ok, key)
	}
	ttl, _, err := c.TTL(ctx, "c")
	require.NoError(t, err)
	require.InDelta(t, 60, ttl.Seconds(), 10)

	got, err := c.GetMany(ctx, []string{"c", "d", "a"})
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Equal(t, `{"n":3}`, got[0].Record.Text())
	require.Nil(t, got[1].Record)
	require.Equal(t, `{"n":1}`, got[2].Record.Text())

	n, err := c.Delete(ctx, "a", "d")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = c.DeletePrefix(ctx, "c")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = c.DeletePrefix(ctx, "")
	require.Error(t, err)
	exists, err := c.Exists(ctx, "b")
	require.NoError(t, err)
	require.True(t, exists)
	require.Zero(t, c.Stats().Snapshot().All.TotalRequests, "none of this is a lookup")
}
