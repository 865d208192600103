package cachetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func addingTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"what is added is there, and what was there stays": testAdd,
		"nothing is added to what is being loaded":         testAddDuringLoad,
		"what has expired is replaced":                     testAddAfterExpiry,
		"thousands are added, also of awkward keys":        testAddMany,
		"what may not be set may not be added":             testAddBounds,
	}
}

func (f *fixture) add(t *testing.T, text string, keys ...string) int {
	t.Helper()
	var items []cache.Item
	for _, key := range keys {
		items = append(items, cache.Item{Key: key, Record: record(t, text), TTL: ttl})
	}
	n, err := f.AddMany(f.ctx, items)
	require.NoError(t, err)
	return n
}

func testAdd(t *testing.T, f *fixture) {
	require.Zero(t, f.add(t, `{}`))
	f.set(t, f.key("a"), `{"n":1}`)
	text := ` {"n" : 2}` + "\n"
	require.Equal(t, 2, f.add(t, text, f.key("a"), f.key("b"), f.key("c"), f.key("b")))
	require.Equal(t, `{"n":1}`, f.text(t, f.key("a")))
	require.Equal(t, text, f.text(t, f.key("b")))
	entry, err := f.Get(f.ctx, f.key("c"))
	require.NoError(t, err)
	require.Equal(t, text, entry.Record.Text())
	require.InDelta(t, ttl, entry.TTL(time.Now()), float64(time.Minute))
	requirePeek(t, f, f.key("c"), text)
}

func testAddDuringLoad(t *testing.T, f *fixture) {
	token := f.lease(t, f.key("a"), nil)
	require.Zero(t, f.add(t, `{"n":1}`, f.key("a")))
	require.True(t, f.fill(t, f.key("a"), token, nil, `{"n":2}`), "what is loaded is newer")
	require.Equal(t, `{"n":2}`, f.text(t, f.key("a")))

	token = f.lease(t, f.key("b"), nil)
	require.NoError(t, f.Release(f.ctx, f.key("b"), token))
	require.Equal(t, 1, f.add(t, `{"n":1}`, f.key("b")))
}

func testAddAfterExpiry(t *testing.T, f *fixture) {
	require.NoError(t, f.Set(f.ctx, f.key("a"), record(t, `{"n":1}`), short))
	f.gone(t, f.key("a"))
	require.Equal(t, 1, f.add(t, `{"n":2}`, f.key("a")))
	require.Equal(t, `{"n":2}`, f.text(t, f.key("a")))
}

func testAddMany(t *testing.T, f *fixture) {
	keys := awkward(f.key(""))
	for i := range 1200 {
		keys = append(keys, f.key(fmt.Sprint(i)))
	}
	f.set(t, keys[700], `{"n":0}`)
	require.Equal(t, len(keys)-1, f.add(t, `{"n":1}`, keys...))
	require.Zero(t, f.add(t, `{"n":2}`, keys...))
	got, err := f.GetMany(f.ctx, keys)
	require.NoError(t, err)
	for i, g := range got {
		require.NotNil(t, g.Record, "%q", keys[i])
		if i != 700 {
			require.Equal(t, `{"n":1}`, g.Record.Text())
		}
	}
}

func testAddBounds(t *testing.T, f *fixture) {
	good := cache.Item{Key: f.key("a"), Record: record(t, `{}`), TTL: ttl}
	short, large := good, good
	short.TTL = time.Millisecond - 1
	large.Record = record(t, `{"a":"`+strings.Repeat("x", cache.DefaultMaxValueSize)+`"}`)
	n, err := f.AddMany(f.ctx, []cache.Item{good, large})
	require.ErrorIs(t, err, cache.ErrInvalidRecord)
	require.Zero(t, n)
	_, err = f.AddMany(f.ctx, []cache.Item{good, short})
	require.ErrorContains(t, err, "want at least 1ms")
	require.Empty(t, f.text(t, f.key("a")))
}
