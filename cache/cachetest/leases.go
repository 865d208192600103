package cachetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func leaseTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"one holds a lease at a time":                     testOneHolder,
		"leases of different keys are apart":              testLeasesApart,
		"a lease expires":                                 testLeaseExpires,
		"a fill ends the lease":                           testFillEndsLease,
		"a fill needs the token":                          testFillNeedsToken,
		"delete ends a lease":                             testDeleteEndsLease,
		"delete by prefix ends leases":                    testDeletePrefixEndsLease,
		"set ends a lease":                                testSetEndsLease,
		"set of many ends leases":                         testSetManyEndsLease,
		"touch leaves a lease alone":                      testTouchKeepsLease,
		"acquire answers what is newer":                   testAcquireNewer,
		"acquire goes on where the old record is gone":    testAcquireOldGone,
		"a record as the caller knows it may be refilled": testRefill,
		"a fill overwrites nothing that is newer":         testFillNewer,
		"an absence replaces what it is known to follow":  testNegativeRefill,
		"only the holder releases":                        testRelease,
		"those who wait learn how a load ended":           testAbandon,
		"only the holder abandons":                        testAbandonOfAnother,
		"a released lease is taken by one who waits":      testReacquireReleased,
		"those who wait see what was filled":              testReacquireFilled,
		"a note on a load is no lease":                    testNoteIsNoLease,
		"a lease is granted with the old record's expiry": testAcquireExpiry,
		"get or acquire finds a record":                   testGetOrAcquireFinds,
		"get or acquire takes a free lease":               testGetOrAcquireTakes,
		"get or acquire waits for no other load":          testGetOrAcquireHeld,
		"one of many that get or acquire has the lease":   testGetOrAcquireOfMany,
	}
}

// requireHeld checks that the lease of a key without a record is held.
func (f *fixture) requireHeld(t *testing.T, key string, old *cache.Record) {
	t.Helper()
	token, now, err := f.Acquire(f.ctx, key, old, ttl, false)
	require.NoError(t, err)
	require.Empty(t, token)
	require.Nil(t, now.Record)
}

func testOneHolder(t *testing.T, f *fixture) {
	f.lease(t, f.key("a"), nil)
	f.requireHeld(t, f.key("a"), nil)
	f.requireHeld(t, f.key("a"), nil)
	require.Empty(t, f.text(t, f.key("a")), "a lease is no record")
}

func testLeasesApart(t *testing.T, f *fixture) {
	a, b := f.lease(t, f.key("a"), nil), f.lease(t, f.key("b"), nil)
	require.NotEqual(t, a, b)
	require.False(t, f.fill(t, f.key("b"), a, nil, `{"n":1}`))
	require.True(t, f.fill(t, f.key("a"), a, nil, `{"n":1}`))
	require.True(t, f.fill(t, f.key("b"), b, nil, `{"n":1}`))
}

func testLeaseExpires(t *testing.T, f *fixture) {
	first, _, err := f.Acquire(f.ctx, f.key("a"), nil, short, false)
	require.NoError(t, err)
	var second string
	eventually(t, func() bool {
		second, _, err = f.Acquire(f.ctx, f.key("a"), nil, ttl, false)
		require.NoError(t, err)
		return second != ""
	})
	require.NotEqual(t, first, second)
	require.False(t, f.fill(t, f.key("a"), first, nil, `{"n":1}`))
	require.NoError(t, f.Release(f.ctx, f.key("a"), first))
	require.True(t, f.fill(t, f.key("a"), second, nil, `{"n":2}`), "the next one's lease is untouched")
	require.Equal(t, `{"n":2}`, f.text(t, f.key("a")))
}

func testFillEndsLease(t *testing.T, f *fixture) {
	token := f.lease(t, f.key("a"), nil)
	require.True(t, f.fill(t, f.key("a"), token, nil, `{"n":1}`))
	first := record(t, `{"n":1}`)
	require.False(t, f.fill(t, f.key("a"), token, first, `{"n":2}`))
	require.Equal(t, first.Text(), f.text(t, f.key("a")))
	f.lease(t, f.key("a"), first)
}

func testFillNeedsToken(t *testing.T, f *fixture) {
	for _, token := range []string{"", "0", "1", "made up"} {
		require.False(t, f.fill(t, f.key("free"), token, nil, `{"n":1}`))
	}
	token := f.lease(t, f.key("held"), nil)
	for _, wrong := range []string{"", token + "x", token[1:], "*"} {
		require.False(t, f.fill(t, f.key("held"), wrong, nil, `{"n":1}`))
	}
	require.True(t, f.fill(t, f.key("held"), token, nil, `{"n":1}`), "a wrong token ends nothing")
	require.Empty(t, f.text(t, f.key("free")))
}

// requireRefused checks that a load that began with the token comes too late,
// and that the next one may begin.
func (f *fixture) requireRefused(t *testing.T, key, token string, old *cache.Record) {
	t.Helper()
	before := f.text(t, key)
	require.False(t, f.fill(t, key, token, old, `{"stale":true}`))
	require.Equal(t, before, f.text(t, key))
}

func testDeleteEndsLease(t *testing.T, f *fixture) {
	a := f.lease(t, f.key("a"), nil)
	old := f.set(t, f.key("b"), `{"n":1}`)
	b := f.lease(t, f.key("b"), old)
	_, err := f.Delete(f.ctx, f.key("a"), f.key("b"))
	require.NoError(t, err)
	f.requireRefused(t, f.key("a"), a, nil)
	f.requireRefused(t, f.key("b"), b, old)
	f.lease(t, f.key("a"), nil)
	f.lease(t, f.key("b"), nil)
}

func testDeletePrefixEndsLease(t *testing.T, f *fixture) {
	keys := []string{f.key("p:free"), f.key("p:{x}"), f.key("p:}{")}
	for i, key := range keys {
		keys[i] = f.key("p:") + key
	}
	tokens := make([]string, len(keys))
	for i, key := range keys {
		tokens[i] = f.lease(t, key, nil)
	}
	old := f.set(t, f.key("p:found"), `{"n":1}`)
	token := f.lease(t, f.key("p:found"), old)
	other := f.lease(t, f.key("q"), nil)

	_, err := f.DeletePrefix(f.ctx, f.key("p:"))
	require.NoError(t, err)
	for i, key := range keys {
		f.requireRefused(t, key, tokens[i], nil)
		f.lease(t, key, nil)
	}
	f.requireRefused(t, f.key("p:found"), token, old)
	require.True(t, f.fill(t, f.key("q"), other, nil, `{"n":1}`))
}

func testSetEndsLease(t *testing.T, f *fixture) {
	token := f.lease(t, f.key("a"), nil)
	set := f.set(t, f.key("a"), `{"n":1}`)
	f.requireRefused(t, f.key("a"), token, nil)

	token = f.lease(t, f.key("a"), set)
	f.set(t, f.key("a"), set.Text())
	f.requireRefused(t, f.key("a"), token, set)
	f.lease(t, f.key("a"), set)
}

func testSetManyEndsLease(t *testing.T, f *fixture) {
	token := f.lease(t, f.key("a"), nil)
	set := record(t, `{"n":1}`)
	require.NoError(t, f.SetMany(f.ctx, []cache.Item{{Key: f.key("a"), Record: set, TTL: ttl}}))
	f.requireRefused(t, f.key("a"), token, nil)
	f.lease(t, f.key("a"), set)
}

func testTouchKeepsLease(t *testing.T, f *fixture) {
	old := f.set(t, f.key("a"), `{"n":1}`)
	token := f.lease(t, f.key("a"), old)
	_, err := f.Touch(f.ctx, f.key("a"), nil, ttl)
	require.NoError(t, err)
	require.True(t, f.fill(t, f.key("a"), token, old, `{"n":2}`))
}

func testAcquireNewer(t *testing.T, f *fixture) {
	newer := f.set(t, f.key("a"), `{"n":2}`)
	for name, old := range map[string]*cache.Record{
		"nothing": nil, "another record": record(t, `{"n":1}`), "an absence": cache.AbsentRecord(),
	} {
		token, now, err := f.Acquire(f.ctx, f.key("a"), old, ttl, false)
		require.NoError(t, err)
		require.Empty(t, token, name)
		require.NotNil(t, now.Record, name)
		require.Equal(t, newer.Text(), now.Record.Text(), name)
		require.Greater(t, now.TTL(time.Now()), ttl-time.Minute, name)
	}
	f.lease(t, f.key("a"), newer) // its lease was not taken
	_, now, err := f.Acquire(f.ctx, f.key("a"), nil, ttl, false)
	require.NoError(t, err)
	require.NotNil(t, now.Record, "the newer record is returned while the lease is held")
}

func testAcquireOldGone(t *testing.T, f *fixture) {
	old := record(t, `{"n":1}`)
	require.NoError(t, f.Set(f.ctx, f.key("a"), old, short))
	f.gone(t, f.key("a"))
	token := f.lease(t, f.key("a"), old)
	require.True(t, f.fill(t, f.key("a"), token, old, `{"n":2}`))
	require.Equal(t, `{"n":2}`, f.text(t, f.key("a")))
}

func testRefill(t *testing.T, f *fixture) {
	f.set(t, f.key("a"), `{"n":1}`)
	old := record(t, `{"n":1}`) // the same text, another object
	token := f.lease(t, f.key("a"), old)
	f.requireHeld(t, f.key("a"), old)
	require.Equal(t, `{"n":1}`, f.text(t, f.key("a")), "it is there while it is refilled")
	require.True(t, f.fill(t, f.key("a"), token, old, `{"n":2}`))
	require.Equal(t, `{"n":2}`, f.text(t, f.key("a")))
}

// The store alone cannot show a write by a stranger under a valid lease. So
// here the filler began from something else than what the store has.
func testFillNewer(t *testing.T, f *fixture) {
	newer := f.set(t, f.key("a"), `{"n":2}`)
	for _, text := range []string{`{"n":3}`, `null`, `{"denied":403}`} {
		for _, old := range []*cache.Record{nil, record(t, `{"n":1}`), cache.AbsentRecord()} {
			token := f.lease(t, f.key("a"), newer)
			require.False(t, f.fill(t, f.key("a"), token, old, text))
			require.Equal(t, newer.Text(), f.text(t, f.key("a")))
		}
	}
	f.lease(t, f.key("a"), newer) // a fill that is refused ends its lease
}

func testNegativeRefill(t *testing.T, f *fixture) {
	old := f.set(t, f.key("a"), `{"n":1}`)
	require.True(t, f.fill(t, f.key("a"), f.lease(t, f.key("a"), old), old, `null`))
	require.Equal(t, `null`, f.text(t, f.key("a")))
	absent := cache.AbsentRecord()
	require.True(t, f.fill(t, f.key("a"), f.lease(t, f.key("a"), absent), absent, `{"n":2}`))
	require.Equal(t, `{"n":2}`, f.text(t, f.key("a")))
}

func testRelease(t *testing.T, f *fixture) {
	token := f.lease(t, f.key("a"), nil)
	require.NoError(t, f.Release(f.ctx, f.key("a"), token+"x"))
	require.NoError(t, f.Release(f.ctx, f.key("a"), ""))
	f.requireHeld(t, f.key("a"), nil)
	require.NoError(t, f.Release(f.ctx, f.key("a"), token))
	require.NoError(t, f.Release(f.ctx, f.key("a"), token), "twice is once")
	next := f.lease(t, f.key("a"), nil)
	require.False(t, f.fill(t, f.key("a"), token, nil, `{"n":1}`))
	require.True(t, f.fill(t, f.key("a"), next, nil, `{"n":1}`))
}

// requireEnded checks that one who waits learns how the load of a key ended.
func (f *fixture) requireEnded(t *testing.T, key string, want cache.Ended) {
	t.Helper()
	token, now, ended, err := f.Reacquire(f.ctx, key, nil, ttl, false)
	require.NoError(t, err)
	require.Empty(t, token)
	require.Nil(t, now.Record)
	require.NotNil(t, ended)
	require.Equal(t, want, *ended)
}

// requireWaiting checks that one who waits has to wait on.
func (f *fixture) requireWaiting(t *testing.T, key string) {
	t.Helper()
	token, now, ended, err := f.Reacquire(f.ctx, key, nil, ttl, false)
	require.NoError(t, err)
	require.Empty(t, token)
	require.Nil(t, now.Record)
	require.Nil(t, ended)
}

func testAbandon(t *testing.T, f *fixture) {
	for name, ended := range map[string]cache.Ended{
		"failed":   {Failure: "status 500"},
		"unstored": {},
	} {
		for _, key := range awkward(f.key(name)) {
			token := f.lease(t, key, nil)
			f.requireWaiting(t, key)
			require.NoError(t, f.Abandon(f.ctx, key, token, ended))
			f.requireEnded(t, key, ended)
			f.requireEnded(t, key, ended) // all of them
			next := f.lease(t, key, nil)
			f.requireWaiting(t, key)
			require.NoError(t, f.Abandon(f.ctx, key, token, cache.Ended{Failure: "late"}))
			f.requireWaiting(t, key)
			require.True(t, f.fill(t, key, next, nil, `{"n":1}`))
		}
	}
	long := cache.Ended{Failure: strings.Repeat("x", 2*cache.MaxFailure)}
	require.NoError(t, f.Abandon(f.ctx, f.key("long"), f.lease(t, f.key("long"), nil), long))
	f.requireEnded(t, f.key("long"), cache.Ended{Failure: long.Failure[:cache.MaxFailure]})
}

func testAbandonOfAnother(t *testing.T, f *fixture) {
	token := f.lease(t, f.key("a"), nil)
	for _, wrong := range []string{"", "x", token + "x"} {
		require.NoError(t, f.Abandon(f.ctx, f.key("a"), wrong, cache.Ended{Failure: "no"}))
		require.NoError(t, f.Abandon(f.ctx, f.key("free"), wrong, cache.Ended{Failure: "no"}))
	}
	f.requireWaiting(t, f.key("a"))
	require.NoError(t, f.Abandon(f.ctx, f.key("a"), token, cache.Ended{Failure: "yes"}))
	require.NoError(t, f.Abandon(f.ctx, f.key("a"), token, cache.Ended{Failure: "twice"}))
	f.requireEnded(t, f.key("a"), cache.Ended{Failure: "yes"})
	token, _, ended, err := f.Reacquire(f.ctx, f.key("free"), nil, ttl, false)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	require.Nil(t, ended)
}

func testReacquireReleased(t *testing.T, f *fixture) {
	require.NoError(t, f.Release(f.ctx, f.key("a"), f.lease(t, f.key("a"), nil)))
	token, now, ended, err := f.Reacquire(f.ctx, f.key("a"), nil, ttl, false)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	require.Nil(t, now.Record)
	require.Nil(t, ended)
	f.requireWaiting(t, f.key("a"))
}

func testReacquireFilled(t *testing.T, f *fixture) {
	require.True(t, f.fill(t, f.key("a"), f.lease(t, f.key("a"), nil), nil, `{"n":1}`))
	token, now, ended, err := f.Reacquire(f.ctx, f.key("a"), nil, ttl, false)
	require.NoError(t, err)
	require.Empty(t, token)
	require.NotNil(t, now.Record)
	require.Equal(t, `{"n":1}`, now.Record.Text())
	require.Nil(t, ended)
}

func testNoteIsNoLease(t *testing.T, f *fixture) {
	require.NoError(t, f.Abandon(f.ctx, f.key("a"), f.lease(t, f.key("a"), nil), cache.Ended{Failure: "no"}))
	require.Equal(t, "", f.text(t, f.key("a")))
	added, err := f.AddMany(f.ctx, []cache.Item{{Key: f.key("a"), Record: record(t, `{"n":1}`), TTL: ttl}})
	require.NoError(t, err)
	require.Equal(t, 1, added)
	require.Equal(t, []string{f.key("a")}, f.scan(t, f.key(""), 10))
}

func testAcquireExpiry(t *testing.T, f *fixture) {
	old := f.set(t, f.key("a"), `{"n":1}`)
	for key, old := range map[string]*cache.Record{f.key("a"): old, f.key("b"): nil, f.key("c"): old} {
		token, now, err := f.Acquire(f.ctx, key, old, ttl, false)
		require.NoError(t, err)
		require.NotEmpty(t, token)
		require.Nil(t, now.Record)
		if key == f.key("a") {
			require.InDelta(t, ttl.Seconds(), now.TTL(time.Now()).Seconds(), 60)
		} else {
			require.Zero(t, now.Expires, "it is not there")
		}
	}
}

func testGetOrAcquireFinds(t *testing.T, f *fixture) {
	for _, text := range []string{`{"n":1}`, `null`, `{"denied":403}`, `{"_source":"00000000000000aa"}`} {
		for _, tagged := range []bool{false, true} {
			old := f.set(t, f.key("a"), text)
			for range 2 {
				token, now, err := f.GetOrAcquire(f.ctx, f.key("a"), ttl, tagged)
				require.NoError(t, err)
				require.Empty(t, token)
				require.NotNil(t, now.Record)
				require.Equal(t, text, now.Record.Text())
				require.InDelta(t, ttl.Seconds(), now.TTL(time.Now()).Seconds(), 60)
			}
			require.NoError(t, f.Release(f.ctx, f.key("a"), f.lease(t, f.key("a"), old)), "its lease was not taken")
		}
	}
}

func testGetOrAcquireTakes(t *testing.T, f *fixture) {
	for _, tagged := range []bool{false, true} {
		for _, key := range awkward(f.key(fmt.Sprint(tagged))) {
			token, now, err := f.GetOrAcquire(f.ctx, key, ttl, tagged)
			require.NoError(t, err)
			require.NotEmpty(t, token)
			require.Equal(t, cache.Entry{}, now)
			f.requireHeld(t, key, nil)
			require.True(t, f.fill(t, key, token, nil, `{"n":1}`))
			_, now, err = f.GetOrAcquire(f.ctx, key, ttl, tagged)
			require.NoError(t, err)
			require.Equal(t, `{"n":1}`, now.Record.Text())
		}
	}
	require.NoError(t, f.Set(f.ctx, f.key("brief"), record(t, `{"n":1}`), short))
	f.gone(t, f.key("brief"))
	token, _, err := f.GetOrAcquire(f.ctx, f.key("brief"), ttl, false)
	require.NoError(t, err)
	require.NotEmpty(t, token, "what has expired is not there")
	_, _, err = f.GetOrAcquire(f.ctx, f.key("none"), 0, false)
	require.Error(t, err, "a lease needs a TTL")
}

func testGetOrAcquireHeld(t *testing.T, f *fixture) {
	token, _, err := f.GetOrAcquire(f.ctx, f.key("a"), ttl, false)
	require.NoError(t, err)
	for range 2 {
		other, now, err := f.GetOrAcquire(f.ctx, f.key("a"), ttl, false)
		require.NoError(t, err)
		require.Empty(t, other)
		require.Equal(t, cache.Entry{}, now)
	}
	require.NoError(t, f.Abandon(f.ctx, f.key("a"), token, cache.Ended{Failure: "status 500"}))
	next, _, err := f.GetOrAcquire(f.ctx, f.key("a"), ttl, false)
	require.NoError(t, err)
	require.NotEmpty(t, next, "it has not waited, so how another load ended is no concern of it")
	f.requireWaiting(t, f.key("a"))
	_, err = f.Delete(f.ctx, f.key("a"))
	require.NoError(t, err)
	f.requireRefused(t, f.key("a"), next, nil)
}

func testGetOrAcquireOfMany(t *testing.T, f *fixture) {
	const many = 50
	for round := range 5 {
		key := f.key(fmt.Sprint(round))
		var group sync.WaitGroup
		var tokens sync.Map
		for range many {
			group.Go(func() {
				token, now, err := f.GetOrAcquire(f.ctx, key, ttl, round%2 == 0)
				assert.NoError(t, err)
				assert.Nil(t, now.Record)
				if token != "" {
					tokens.Store(token, true)
				}
			})
		}
		group.Wait()
		var got []string
		tokens.Range(func(token, _ any) bool { got = append(got, token.(string)); return true })
		require.Len(t, got, 1)
		require.True(t, f.fill(t, key, got[0], nil, `{"n":1}`))
	}
}
