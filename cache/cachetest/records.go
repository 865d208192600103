package cachetest

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func recordTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"it has a name":                           testName,
		"what is set is got, as it was":           testSetGet,
		"set overwrites":                          testOverwrite,
		"negative records are kept as such":       testNegative,
		"awkward keys are keys like any other":    testAwkwardKeys,
		"a record too large is refused":           testTooLarge,
		"a record of the largest size is not":     testLargest,
		"a record ends with its time":             testExpiry,
		"a TTL has bounds":                        testTTLBounds,
		"touch changes the time, not the record":  testTouch,
		"touch revives nothing":                   testTouchAbsent,
		"delete counts what was there":            testDelete,
		"many are set and got in order":           testMany,
		"batches may be empty":                    testEmptyBatches,
		"a set of many with a bad one is refused": testBadBatch,
		"the server is described":                 testInfo,
	}
}

func testName(t *testing.T, f *fixture) {
	require.Contains(t, []string{"memory", "redis"}, f.Name())
}

func testSetGet(t *testing.T, f *fixture) {
	text := ` {"name": "Ü \u00fc.pdf", "size": 1.50, "a": [1, {"b": null}], "size": 2}` + "\n"
	require.Empty(t, f.text(t, f.key("a")))
	f.set(t, f.key("a"), text)

	entry, err := f.Get(f.ctx, f.key("a"))
	require.NoError(t, err)
	require.Equal(t, text, entry.Record.Text(), "the text is kept as it is")
	require.Equal(t, cache.Found, entry.Record.State())
	left := entry.TTL(time.Now())
	require.LessOrEqual(t, left, ttl)
	require.Greater(t, left, ttl-time.Minute)
	requirePeek(t, f, f.key("a"), text)
	requirePeek(t, f, f.key("b"), "")
}

// requirePeek checks that a peek sees what a get does, where there is one.
func requirePeek(t *testing.T, f *fixture, key, text string) {
	t.Helper()
	peeker, ok := f.Store.(cache.Peeker)
	if !ok {
		return
	}
	entry, found := peeker.Peek(key, time.Now())
	require.Equal(t, text != "", found)
	if found {
		require.Equal(t, text, entry.Record.Text())
	} else {
		require.Nil(t, entry.Record)
	}
}

func testOverwrite(t *testing.T, f *fixture) {
	f.set(t, f.key("a"), `{"n":1}`)
	require.NoError(t, f.Set(f.ctx, f.key("a"), record(t, `{"n":2}`), 2*ttl))
	entry, err := f.Get(f.ctx, f.key("a"))
	require.NoError(t, err)
	require.Equal(t, `{"n":2}`, entry.Record.Text())
	require.Greater(t, entry.TTL(time.Now()), ttl)
}

func testNegative(t *testing.T, f *fixture) {
	require.NoError(t, f.Set(f.ctx, f.key("absent"), cache.AbsentRecord(), ttl))
	require.NoError(t, f.Set(f.ctx, f.key("denied"), cache.DeniedRecord(451), ttl))

	absent, err := f.Get(f.ctx, f.key("absent"))
	require.NoError(t, err)
	require.Equal(t, cache.Absent, absent.Record.State())
	denied, err := f.Get(f.ctx, f.key("denied"))
	require.NoError(t, err)
	require.Equal(t, cache.Denied, denied.Record.State())
	require.Equal(t, 451, denied.Record.DeniedStatus())
}

func testAwkwardKeys(t *testing.T, f *fixture) {
	keys := awkward(f.key(""))
	for _, key := range keys {
		require.Empty(t, f.text(t, key), key)
		token := f.lease(t, key, nil)
		first := record(t, `{"n":1}`)
		require.True(t, f.fill(t, key, token, nil, first.Text()), key)
		require.Equal(t, first.Text(), f.text(t, key), key)
		require.NoError(t, f.Release(f.ctx, key, f.lease(t, key, first)), key)
		f.set(t, key, `{"n":2}`)
		touched, err := f.Touch(f.ctx, key, nil, ttl)
		require.NoError(t, err)
		require.True(t, touched, key)
	}
	got, err := f.GetMany(f.ctx, keys)
	require.NoError(t, err)
	for i, key := range keys {
		require.NoError(t, got[i].Err)
		require.NotNil(t, got[i].Record, key)
		require.Equal(t, `{"n":2}`, got[i].Record.Text(), key)
	}
	n, err := f.Delete(f.ctx, keys...)
	require.NoError(t, err)
	require.Equal(t, len(keys), n)
}

func sized(n int) string { return `{"a":"` + strings.Repeat("x", n-len(`{"a":""}`)) + `"}` }

func testTooLarge(t *testing.T, f *fixture) {
	text := sized(cache.DefaultMaxValueSize + 1)
	large := record(t, text)
	require.ErrorIs(t, f.Set(f.ctx, f.key("a"), large, ttl), cache.ErrInvalidRecord)
	require.ErrorIs(t, f.SetMany(f.ctx, []cache.Item{{Key: f.key("a"), Record: large, TTL: ttl}}), cache.ErrInvalidRecord)
	token := f.lease(t, f.key("a"), nil)
	_, err := f.Fill(f.ctx, f.key("a"), token, nil, large, nil, ttl)
	require.ErrorIs(t, err, cache.ErrInvalidRecord)
	require.Empty(t, f.text(t, f.key("a")))
}

func testLargest(t *testing.T, f *fixture) {
	text := sized(cache.DefaultMaxValueSize)
	f.set(t, f.key("a"), text)
	require.True(t, text == f.text(t, f.key("a")))
}

func testExpiry(t *testing.T, f *fixture) {
	keys := []string{f.key("set"), f.key("many"), f.key("filled"), f.key("touched")}
	r := record(t, `{"n":1}`)
	require.NoError(t, f.Set(f.ctx, keys[0], r, short))
	require.NoError(t, f.SetMany(f.ctx, []cache.Item{{Key: keys[1], Record: r, TTL: short}}))
	filled, err := f.Fill(f.ctx, keys[2], f.lease(t, keys[2], nil), nil, r, nil, short)
	require.NoError(t, err)
	require.True(t, filled)
	f.set(t, keys[3], `{"n":1}`)
	touched, err := f.Touch(f.ctx, keys[3], nil, short)
	require.NoError(t, err)
	require.True(t, touched)
	f.set(t, f.key("stays"), `{"n":1}`)

	for _, key := range keys {
		f.gone(t, key)
		requirePeek(t, f, key, "")
	}
	n, err := f.Delete(f.ctx, keys...)
	require.NoError(t, err)
	require.Zero(t, n, "what has expired is not there to be deleted")
	require.Equal(t, []string{f.key("stays")}, f.scan(t, f.key(""), 10))
}

func testTTLBounds(t *testing.T, f *fixture) {
	old := f.set(t, f.key("a"), `{"n":1}`)
	r := record(t, `{"n":2}`)
	for _, bad := range []time.Duration{0, -time.Second, cache.MinTTL - 1, math.MinInt64} {
		require.Error(t, f.Set(f.ctx, f.key("a"), r, bad))
		require.Error(t, f.SetMany(f.ctx, []cache.Item{{Key: f.key("a"), Record: r, TTL: bad}}))
		_, err := f.Touch(f.ctx, f.key("a"), nil, bad)
		require.Error(t, err)
		_, _, err = f.Acquire(f.ctx, f.key("b"), nil, bad, false)
		require.Error(t, err)
		token := f.lease(t, f.key("a"), old)
		_, err = f.Fill(f.ctx, f.key("a"), token, old, r, nil, bad)
		require.Error(t, err)
		require.NoError(t, f.Release(f.ctx, f.key("a"), token))
	}
	require.Equal(t, `{"n":1}`, f.text(t, f.key("a")))

	require.NoError(t, f.Set(f.ctx, f.key("shortest"), r, cache.MinTTL))
	require.NoError(t, f.Set(f.ctx, f.key("longest"), r, math.MaxInt64))
	entry, err := f.Get(f.ctx, f.key("longest"))
	require.NoError(t, err)
	require.NotNil(t, entry.Record)
	require.Greater(t, entry.TTL(time.Now()), 100*365*24*time.Hour)
}

func testTouch(t *testing.T, f *fixture) {
	f.set(t, f.key("a"), `{"n":1}`)
	for _, want := range []time.Duration{5 * ttl, ttl / 5} {
		touched, err := f.Touch(f.ctx, f.key("a"), nil, want)
		require.NoError(t, err)
		require.True(t, touched)
		entry, err := f.Get(f.ctx, f.key("a"))
		require.NoError(t, err)
		require.Equal(t, `{"n":1}`, entry.Record.Text())
		require.InDelta(t, want.Seconds(), entry.TTL(time.Now()).Seconds(), 60)
	}
}

func testTouchAbsent(t *testing.T, f *fixture) {
	touched, err := f.Touch(f.ctx, f.key("a"), nil, ttl)
	require.NoError(t, err)
	require.False(t, touched)
	require.Empty(t, f.text(t, f.key("a")))
	require.Empty(t, f.scan(t, f.key(""), 10))
}

func testDelete(t *testing.T, f *fixture) {
	f.set(t, f.key("a"), `{"n":1}`)
	f.set(t, f.key("b"), `null`)
	n, err := f.Delete(f.ctx, f.key("a"), f.key("b"), f.key("c"))
	require.NoError(t, err)
	require.Equal(t, 2, n, "known absences are records too")
	require.Empty(t, f.text(t, f.key("a")))
	require.Empty(t, f.text(t, f.key("b")))
	n, err = f.Delete(f.ctx, f.key("a"))
	require.NoError(t, err)
	require.Zero(t, n)
}

func testMany(t *testing.T, f *fixture) {
	var items []cache.Item
	var keys []string
	for i := range 1500 {
		key := f.key(strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String())
		items = append(items, cache.Item{Key: key, Record: record(t, `{"k":"`+key+`"}`), TTL: ttl})
		keys = append(keys, key, key+":absent")
	}
	require.NoError(t, f.SetMany(f.ctx, items))
	got, err := f.GetMany(f.ctx, keys)
	require.NoError(t, err)
	require.Len(t, got, len(keys))
	for i, item := range items {
		require.NotNil(t, got[2*i].Record)
		require.Equal(t, item.Record.Text(), got[2*i].Record.Text())
		require.Greater(t, got[2*i].TTL(time.Now()), ttl-time.Minute)
		require.Nil(t, got[2*i+1].Record)
		require.NoError(t, got[2*i+1].Err)
	}
}

func testEmptyBatches(t *testing.T, f *fixture) {
	require.NoError(t, f.SetMany(f.ctx, nil))
	got, err := f.GetMany(f.ctx, nil)
	require.NoError(t, err)
	require.Empty(t, got)
	n, err := f.Delete(f.ctx)
	require.NoError(t, err)
	require.Zero(t, n)
}

func testBadBatch(t *testing.T, f *fixture) {
	good := record(t, `{"n":1}`)
	require.Error(t, f.SetMany(f.ctx, []cache.Item{
		{Key: f.key("a"), Record: good, TTL: ttl},
		{Key: f.key("b"), Record: good, TTL: 0},
	}))
	require.Empty(t, f.text(t, f.key("b")))
}

func testInfo(t *testing.T, f *fixture) {
	require.NoError(t, f.Ping(f.ctx))
	f.set(t, f.key("a"), sized(10_000))
	info, err := f.Info(f.ctx)
	require.NoError(t, err)
	require.NotEmpty(t, info.Mode)
	require.GreaterOrEqual(t, info.UptimeSeconds, int64(0))
	require.GreaterOrEqual(t, info.Keys, int64(1))
	require.Greater(t, info.UsedMemory, int64(10_000))
	require.Regexp(t, `^\d+(\.\d\d)?[BKMGT]$`, info.UsedMemoryHuman)
}

func testClosed(t *testing.T, store cache.Store) {
	f := newFixture(t, store)
	r := f.set(t, f.key("a"), `{"n":1}`)
	token := f.lease(t, f.key("b"), nil)
	require.NoError(t, f.Close())

	calls := map[string]func() error{
		"get":      func() error { _, err := f.Get(f.ctx, f.key("a")); return err },
		"get many": func() error { _, err := f.GetMany(f.ctx, []string{f.key("a")}); return err },
		"set":      func() error { return f.Set(f.ctx, f.key("a"), r, ttl) },
		"add many": func() error {
			_, err := f.AddMany(f.ctx, []cache.Item{{Key: f.key("a"), Record: r, TTL: ttl}})
			return err
		},
		"records": func() error {
			for _, err := range f.Records(f.ctx, f.key("")) {
				return err
			}
			return nil
		},
		"drop tag":       func() error { return f.DropTag(f.ctx, f.key("tag")) },
		"adopt tags":     func() error { _, err := f.AdoptTags(f.ctx, []*cache.Record{r}, ttl); return err },
		"set many":       func() error { return f.SetMany(f.ctx, []cache.Item{{Key: f.key("a"), Record: r, TTL: ttl}}) },
		"touch":          func() error { _, err := f.Touch(f.ctx, f.key("a"), nil, ttl); return err },
		"delete":         func() error { _, err := f.Delete(f.ctx, f.key("a")); return err },
		"delete prefix":  func() error { _, err := f.DeletePrefix(f.ctx, f.key("")); return err },
		"scan":           func() error { _, _, err := f.Scan(f.ctx, f.key(""), "", 10); return err },
		"get or acquire": func() error { _, _, err := f.GetOrAcquire(f.ctx, f.key("c"), ttl, false); return err },
		"acquire":        func() error { _, _, err := f.Acquire(f.ctx, f.key("c"), nil, ttl, false); return err },
		"reacquire":      func() error { _, _, _, err := f.Reacquire(f.ctx, f.key("c"), nil, ttl, false); return err },
		"abandon":        func() error { return f.Abandon(f.ctx, f.key("b"), token, cache.Ended{}) },
		"fill":           func() error { _, err := f.Fill(f.ctx, f.key("b"), token, nil, r, nil, ttl); return err },
		"release":        func() error { return f.Release(f.ctx, f.key("b"), token) },
		"ping":           func() error { return f.Ping(f.ctx) },
		"info":           func() error { _, err := f.Info(f.ctx); return err },
	}
	for name, call := range calls {
		require.ErrorIs(t, call(), cache.ErrClosed, name)
	}
	requirePeek(t, f, f.key("a"), "")
}
