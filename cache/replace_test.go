package cache_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
)

func TestReplaceNeverOverwritesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	store, err := memory.New(memory.Options{})
	require.NoError(t, err)
	c := cache.New(store, cache.NewStats())
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	record := func(text string) *cache.Record {
		r, err := cache.Decode(text, cache.DefaultMaxValueSize)
		require.NoError(t, err)
		return r
	}
	ctx := t.Context()
	one, two, three := record(`{"v":1}`), record(`{"v":2}`), record(`{"v":3}`)

	_, done, err := c.Replace(ctx, "k", nil, one, time.Hour)
	require.NoError(t, err)
	require.True(t, done, "there was nothing")
	now, done, err := c.Replace(ctx, "k", nil, two, time.Hour)
	require.NoError(t, err)
	require.False(t, done)
	require.Equal(t, one.Text(), now.Record.Text())
	_, done, err = c.Replace(ctx, "k", now.Record, two, time.Hour)
	require.NoError(t, err)
	require.True(t, done, "old is there")
	_, done, err = c.Replace(ctx, "k", one, three, time.Hour)
	require.NoError(t, err)
	require.False(t, done, "old is there no more")

	token, _, err := store.Acquire(ctx, "k", two, time.Hour, false)
	require.NoError(t, err)
	now, done, err = c.Replace(ctx, "k", two, three, time.Hour)
	require.NoError(t, err)
	require.False(t, done, "another is about to write")
	require.Nil(t, now.Record)
	require.NoError(t, store.Release(ctx, "k", token))

	_, err = c.Delete(ctx, "k")
	require.NoError(t, err)
	_, done, err = c.Replace(ctx, "k", two, three, time.Hour)
	require.NoError(t, err)
	require.True(t, done, "nothing is newer than old")
	entry, err := c.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, three.Text(), entry.Record.Text())
	require.Positive(t, entry.TTL(time.Now()))
}
