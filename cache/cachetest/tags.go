package cachetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func tagTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"a dropped tag drops what bears it":                   testTagDrops,
		"a record ends with the first of its tags":            testTagAny,
		"absences and refusals bear tags":                     testTagNegative,
		"a tag dropped during a load keeps it from filling":   testTagFence,
		"a tag dropped long ago does not":                     testTagFenceEnds,
		"however many tags are dropped during a load":         testTagFenceOfMany,
		"a lease that is not for tags fills no record of one": testTagNeedsLease,
		"what was dropped may be filled and dropped again":    testTagAgain,
		"what was dropped may be written over":                testTagOverwritten,
		"a touch leaves the tags as they are":                 testTagTouched,
		"a tag has as many records as it takes":               testTagOfMany,
		"a tag must not be empty":                             testTagEmpty,
		"tags that cannot be read drop the record":            testTagUnreadable,
		"records from elsewhere bring their tags":             testTagAdopted,
		"no load outlives the drop of its tag":                testTagRace,
		"tags are dropped while others fill":                  testTagStorm,
		"a tag dropped after get or acquire keeps it away":    testTagGetOrAcquire,
		"get or acquire takes over what was dropped":          testTagGetOrAcquireDropped,
		"a refused fill of tags leaves other tags alone":      testTagRefused,
		"a fill of tags overwrites nothing that is newer":     testTagNewer,
	}
}

func (f *fixture) leaseTagged(t *testing.T, key string, old *cache.Record) (token string, now cache.Entry) {
	t.Helper()
	token, now, err := f.Acquire(f.ctx, key, old, ttl, true)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	return token, now
}

func (f *fixture) fillTagged(t *testing.T, key, token string, old *cache.Record, text string, tags ...string) bool {
	t.Helper()
	filled, err := f.Fill(f.ctx, key, token, old, record(t, text), tags, ttl)
	require.NoError(t, err)
	return filled
}

// load fills a key that has no record that counts.
func (f *fixture) load(t *testing.T, key, text string, tags ...string) {
	t.Helper()
	token, now := f.leaseTagged(t, key, nil)
	require.True(t, f.fillTagged(t, key, token, now.Old, text, tags...))
}

func (f *fixture) drop(t *testing.T, tag string) {
	t.Helper()
	require.NoError(t, f.DropTag(f.ctx, tag))
}

// requireGone checks that no way of reading finds a record.
func (f *fixture) requireGone(t *testing.T, key string) {
	t.Helper()
	require.Empty(t, f.text(t, key))
	got, err := f.GetMany(f.ctx, []string{f.key("nothing"), key})
	require.NoError(t, err)
	require.NoError(t, got[1].Err)
	require.Nil(t, got[1].Record)
	for listed, err := range f.Records(f.ctx, key) {
		require.NoError(t, err)
		require.NotEqual(t, key, listed.Key)
	}
	requirePeek(t, f, key, "")
}

func testTagDrops(t *testing.T, f *fixture) {
	for _, name := range []string{"user:1", "a}b", "{c}", "*", strings.Repeat("long", 200), "é", "no UTF-8 \xff", "<&>", `q"\`, "{", ":"} {
		tag := f.key(name)
		one, two, other := f.key(name+"one"), f.key(name+"two"), f.key(name+"other")
		f.load(t, one, `{"n":1}`, tag, f.key("all"))
		f.load(t, two, `{}`, f.key("all"), tag, tag)
		f.load(t, other, `{"n":1}`, f.key("all"))
		for key, n := range map[string]string{one: "1", other: "1"} {
			entry, err := f.Get(f.ctx, key)
			require.NoError(t, err)
			require.NotNil(t, entry.Record, "%q", name)
			v, _ := entry.Record.Field("n")
			require.Equal(t, n, v.Text())
		}
		require.NotEmpty(t, f.text(t, two))
		f.drop(t, tag)
		f.requireGone(t, one)
		f.requireGone(t, two)
		require.NotEmpty(t, f.text(t, other))
		f.drop(t, tag)
		require.NotEmpty(t, f.text(t, other))
	}
}

func testTagAny(t *testing.T, f *fixture) {
	tags := []string{f.key("1"), f.key("2"), f.key("3")}
	for _, tag := range tags {
		f.load(t, f.key("a"), `{"n":1}`, tags...)
		require.NotEmpty(t, f.text(t, f.key("a")))
		f.drop(t, tag)
		f.requireGone(t, f.key("a"))
	}
}

func testTagNegative(t *testing.T, f *fixture) {
	for text, state := range map[string]cache.State{`null`: cache.Absent, `{"denied":403}`: cache.Denied} {
		f.load(t, f.key("a"), text, f.key("tag"))
		entry, err := f.Get(f.ctx, f.key("a"))
		require.NoError(t, err)
		require.NotNil(t, entry.Record)
		require.Equal(t, state, entry.Record.State())
		f.drop(t, f.key("tag"))
		f.requireGone(t, f.key("a"))
	}
}

func testTagFence(t *testing.T, f *fixture) {
	// an unknown tag, and one that has a version
	f.load(t, f.key("other"), `{}`, f.key("known"))
	for _, tag := range []string{f.key("new"), f.key("known")} {
		token, _ := f.leaseTagged(t, f.key("a"), nil)
		f.drop(t, tag)
		require.False(t, f.fillTagged(t, f.key("a"), token, nil, `{"stale":true}`, f.key("x"), tag), "it may be of the time before")
		f.requireGone(t, f.key("a"))
		require.False(t, f.fillTagged(t, f.key("a"), token, nil, `{"stale":true}`), "the lease is over")
	}
	token, _ := f.leaseTagged(t, f.key("a"), nil)
	f.drop(t, f.key("unrelated"))
	require.True(t, f.fillTagged(t, f.key("a"), token, nil, `{"n":1}`, f.key("new"), f.key("known")))
	require.NotEmpty(t, f.text(t, f.key("a")))
}

func testTagFenceEnds(t *testing.T, f *fixture) {
	for range 3 {
		f.drop(t, f.key("tag"))
		f.load(t, f.key("a"), `{"n":1}`, f.key("tag"))
		require.NotEmpty(t, f.text(t, f.key("a")))
	}
}

func testTagFenceOfMany(t *testing.T, f *fixture) {
	token, _ := f.leaseTagged(t, f.key("a"), nil)
	f.drop(t, f.key("tag"))
	for i := range 1200 {
		f.drop(t, f.key(fmt.Sprint("other", i)))
	}
	require.False(t, f.fillTagged(t, f.key("a"), token, nil, `{"stale":true}`, f.key("tag")))
	f.load(t, f.key("a"), `{"n":1}`, f.key("tag"))
	require.NotEmpty(t, f.text(t, f.key("a")))
}

func testTagNeedsLease(t *testing.T, f *fixture) {
	token := f.lease(t, f.key("a"), nil)
	require.False(t, f.fillTagged(t, f.key("a"), token, nil, `{"n":1}`, f.key("tag")))
	token, _ = f.leaseTagged(t, f.key("a"), nil)
	require.True(t, f.fillTagged(t, f.key("a"), token, nil, `{"n":1}`), "a lease for tags takes a record without")
	require.Equal(t, `{"n":1}`, f.text(t, f.key("a")))

	old := record(t, `{"n":1}`)
	token, _ = f.leaseTagged(t, f.key("a"), old)
	require.NoError(t, f.Release(f.ctx, f.key("a"), token))
	f.leaseTagged(t, f.key("a"), old)
}

func testTagAgain(t *testing.T, f *fixture) {
	for range 3 {
		f.load(t, f.key("a"), `{"n":1}`, f.key("tag"))
		f.load(t, f.key("b"), `{"n":1}`, f.key("tag"))
		require.NotEmpty(t, f.text(t, f.key("a")))
		require.NotEmpty(t, f.text(t, f.key("b")))
		f.drop(t, f.key("tag"))
		f.requireGone(t, f.key("a"))
		f.requireGone(t, f.key("b"))
	}
}

func testTagOverwritten(t *testing.T, f *fixture) {
	again := func() {
		f.load(t, f.key("a"), `{"n":1}`, f.key("tag"))
		f.drop(t, f.key("tag"))
	}
	again()
	f.set(t, f.key("a"), `{"n":2}`)
	require.Equal(t, `{"n":2}`, f.text(t, f.key("a")))
	_, err := f.Delete(f.ctx, f.key("a"))
	require.NoError(t, err)
	again()
	require.Equal(t, 1, f.add(t, `{"n":3}`, f.key("a"), f.key("b"))-1, "it counts as nothing")
	require.Equal(t, `{"n":3}`, f.text(t, f.key("a")))
	_, err = f.Delete(f.ctx, f.key("a"))
	require.NoError(t, err)
	again()
	entry, err := f.Get(f.ctx, f.key("a"))
	require.NoError(t, err)
	token, now := f.leaseTagged(t, f.key("a"), entry.Old)
	require.Nil(t, now.Record)
	require.True(t, f.fillTagged(t, f.key("a"), token, entry.Old, `{"n":4}`))
	require.Equal(t, `{"n":4}`, f.text(t, f.key("a")))
}

func testTagTouched(t *testing.T, f *fixture) {
	f.load(t, f.key("a"), `{"n":1}`, f.key("tag"))
	entry, err := f.Get(f.ctx, f.key("a"))
	require.NoError(t, err)
	touched, err := f.Touch(f.ctx, f.key("a"), entry.Record, 2*ttl)
	require.NoError(t, err)
	require.True(t, touched)
	require.NotEmpty(t, f.text(t, f.key("a")))
	f.drop(t, f.key("tag"))
	_, err = f.Touch(f.ctx, f.key("a"), entry.Record, 2*ttl)
	require.NoError(t, err)
	f.requireGone(t, f.key("a"))
}

func testTagOfMany(t *testing.T, f *fixture) {
	const many = 600
	keys := make([]string, many)
	for i := range keys {
		keys[i] = f.key(fmt.Sprint("many", i))
		f.load(t, keys[i], `{"n":1}`, f.key("tag"), f.key(fmt.Sprint("of its own", i)))
	}
	found := func() (n int) {
		got, err := f.GetMany(f.ctx, keys)
		require.NoError(t, err)
		for _, g := range got {
			if g.Record != nil {
				n++
			}
		}
		return n
	}
	require.Equal(t, many, found())
	f.drop(t, f.key("tag"))
	require.Zero(t, found())
}

func testTagEmpty(t *testing.T, f *fixture) {
	require.Error(t, f.DropTag(f.ctx, ""))
}

func testTagUnreadable(t *testing.T, f *fixture) {
	for _, tags := range []string{`"x"`, `1`, `null`, `["tag"]`, `{"tag":1}`, `{"tag":null}`, `{"tag":""}`, `{"":""}`, `{"tag":"made up"}`} {
		f.set(t, f.key("a"), `{"n":1,"_tags":`+tags+`}`)
		f.requireGone(t, f.key("a"))
		f.set(t, f.key("a"), `{"\u005ftags":`+tags+`}`)
		f.requireGone(t, f.key("a"))
	}
	f.set(t, f.key("a"), `{"n":1,"_tags":{}}`)
	require.NotEmpty(t, f.text(t, f.key("a")))
}

func testTagAdopted(t *testing.T, f *fixture) {
	adopt := func(texts ...string) []bool {
		var records []*cache.Record
		for _, text := range texts {
			records = append(records, record(t, text))
		}
		counts, err := f.AdoptTags(f.ctx, records, ttl)
		require.NoError(t, err)
		return counts
	}
	saved := func(n int, version string, tags ...string) string {
		versions := make(map[string]string)
		for _, tag := range tags {
			versions[cache.TagName(f.key(tag))] = version
		}
		return record(t, fmt.Sprintf(`{"n":%d}`, n)).WithTags(versions).Text()
	}
	one, two := saved(1, "v1", "tag", "a}b"), saved(2, "v1", "tag")
	require.Equal(t, []bool{true, true, true}, adopt(one, `{"n":3}`, two))
	f.set(t, f.key("1"), one)
	f.set(t, f.key("2"), two)
	require.Equal(t, one, f.text(t, f.key("1")))
	require.Equal(t, []bool{true, false}, adopt(one, saved(1, "v2", "tag")), "another version than the one that is there")
	f.load(t, f.key("3"), `{"n":3}`, f.key("tag"))
	require.NotEmpty(t, f.text(t, f.key("1")), "what is loaded bears the version that is there")

	f.drop(t, f.key("tag"))
	f.requireGone(t, f.key("1"))
	f.requireGone(t, f.key("2"))
	f.requireGone(t, f.key("3"))
	require.Equal(t, []bool{false, false}, adopt(one, two), "a dropped tag came back")
	f.drop(t, f.key("new"))
	require.Equal(t, []bool{false}, adopt(saved(1, "v1", "new")), "nor what was dropped before it was heard of")
	require.Equal(t, []bool{false, false}, adopt(`{"_tags":1}`, `{"_tags":{"x":""}}`))
	require.Empty(t, adopt())
}

func testTagRace(t *testing.T, f *fixture) {
	testLoads(t, f, []string{f.key("tag")}, func(string) error { return f.DropTag(f.ctx, f.key("tag")) })
}

// Records that are filled while their tags are dropped are gone after the next drop.
func testTagStorm(t *testing.T, f *fixture) {
	var fillers sync.WaitGroup
	keys := make([]string, workers)
	for worker := range workers {
		keys[worker] = f.key(fmt.Sprint(worker))
		fillers.Go(func() {
			for i := range 40 {
				token, now, err := f.Acquire(f.ctx, keys[worker], nil, ttl, true)
				if !assert.NoError(t, err) {
					return
				}
				if token == "" {
					_, err := f.Delete(f.ctx, keys[worker])
					assert.NoError(t, err)
					continue
				}
				_, err = f.Fill(f.ctx, keys[worker], token, now.Old, record(t, `{"n":1}`), []string{f.key("tag"), f.key(fmt.Sprint("t", i%3))}, ttl)
				assert.NoError(t, err)
			}
		})
	}
	for range 50 {
		f.drop(t, f.key("tag"))
	}
	fillers.Wait()
	f.drop(t, f.key("tag"))
	for _, key := range keys {
		f.requireGone(t, key)
	}
}

func (f *fixture) getOrAcquireTagged(t *testing.T, key string) (token string, now cache.Entry) {
	t.Helper()
	token, now, err := f.GetOrAcquire(f.ctx, key, ttl, true)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	require.Nil(t, now.Record)
	return token, now
}

// What is dropped between the read and the fill is refused, whether or not the tag
// had a version, and whichever of the record's tags it is.
func testTagGetOrAcquire(t *testing.T, f *fixture) {
	f.load(t, f.key("other"), `{}`, f.key("known"))
	for _, tag := range []string{f.key("new"), f.key("known"), f.key(`q"\`), f.key("{b}")} {
		for i := range 3 {
			key := f.key(fmt.Sprint(tag, i))
			tags := []string{f.key("x"), f.key("y"), f.key("z")}
			tags[i] = tag
			token, _ := f.getOrAcquireTagged(t, key)
			f.drop(t, tag)
			require.False(t, f.fillTagged(t, key, token, nil, `{"stale":true}`, tags...))
			f.requireGone(t, key)
			token, _ = f.getOrAcquireTagged(t, key)
			f.drop(t, f.key("unrelated"))
			require.True(t, f.fillTagged(t, key, token, nil, `{"n":1}`, tags...))
			require.NotEmpty(t, f.text(t, key))
			_, now, err := f.GetOrAcquire(f.ctx, key, ttl, true)
			require.NoError(t, err)
			require.NotNil(t, now.Record)
			require.Len(t, now.Record.Tags(), 3)
			require.Len(t, now.Versions, 3)
		}
	}
	token, _, err := f.GetOrAcquire(f.ctx, f.key("untagged"), ttl, false)
	require.NoError(t, err)
	require.False(t, f.fillTagged(t, f.key("untagged"), token, nil, `{"n":1}`, f.key("tag")))
}

func testTagGetOrAcquireDropped(t *testing.T, f *fixture) {
	for range 3 {
		f.load(t, f.key("a"), `{"n":1}`, f.key("tag"))
		f.drop(t, f.key("tag"))
		token, now := f.getOrAcquireTagged(t, f.key("a"))
		require.True(t, f.fillTagged(t, f.key("a"), token, now.Old, `{"n":2}`, f.key("tag")))
		require.NotEmpty(t, f.text(t, f.key("a")))
		f.drop(t, f.key("tag"))
		f.requireGone(t, f.key("a"))
	}
}

func testTagRefused(t *testing.T, f *fixture) {
	f.load(t, f.key("other"), `{"n":1}`, f.key("kept"))
	for _, key := range []string{f.key("lost"), f.key("dropped")} {
		token, _ := f.getOrAcquireTagged(t, key)
		if key == f.key("lost") {
			_, err := f.Delete(f.ctx, key)
			require.NoError(t, err)
		} else {
			f.drop(t, f.key("tag"))
		}
		require.False(t, f.fillTagged(t, key, token, nil, `{"stale":true}`, f.key("kept"), f.key("tag")))
		f.requireGone(t, key)
		require.NotEmpty(t, f.text(t, f.key("other")))
	}
}

func testTagNewer(t *testing.T, f *fixture) {
	newer := f.set(t, f.key("a"), `{"n":2}`)
	for _, text := range []string{`{"n":3}`, `null`, `{"denied":403}`} {
		for _, old := range []*cache.Record{nil, record(t, `{"n":1}`), cache.AbsentRecord()} {
			token, _ := f.leaseTagged(t, f.key("a"), newer)
			require.False(t, f.fillTagged(t, f.key("a"), token, old, text, f.key("tag")))
			require.Equal(t, newer.Text(), f.text(t, f.key("a")))
		}
	}
	token, _ := f.leaseTagged(t, f.key("a"), newer)
	require.True(t, f.fillTagged(t, f.key("a"), token, newer, `null`, f.key("tag")))
	entry, err := f.Get(f.ctx, f.key("a"))
	require.NoError(t, err)
	require.Equal(t, cache.Absent, entry.Record.State())
}
