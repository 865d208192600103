package cachetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func tagTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"a tag drops what bears it":                    testTagDrops,
		"a dropped tag keeps older loads from filling": testTagFence,
		"a tag ends the leases of what bears it":       testTagEndsLease,
		"a tag has as many keys as it takes":           testTagOfMany,
		"a tag must not be empty":                      testTagEmpty,
		"tags are listed with what bears them":         testTagList,
		"a listed tag can be put back":                 testTagPutBack,
	}
}

// tag files a key whose load began so long ago.
func (f *fixture) tag(t *testing.T, key string, since time.Duration, tags ...string) bool {
	t.Helper()
	ok, err := f.Tag(f.ctx, key, tags, ttl, time.Now().Add(-since))
	require.NoError(t, err)
	return ok
}

func (f *fixture) dropTag(t *testing.T, tag string) int {
	t.Helper()
	n, err := f.DeleteTag(f.ctx, tag)
	require.NoError(t, err)
	return n
}

func testTagDrops(t *testing.T, f *fixture) {
	for _, name := range []string{"user:1", "a}b", "{c}", "*", strings.Repeat("long", 200), "é"} {
		tag := f.key(name)
		one, two, other := f.key(name+"one"), f.key(name+"two"), f.key(name+"other")
		for _, key := range []string{one, two} {
			require.True(t, f.tag(t, key, 0, tag, f.key("all")))
			f.set(t, key, `{"n":1}`)
		}
		require.True(t, f.tag(t, other, 0, f.key("all")))
		f.set(t, other, `{"n":1}`)
		require.Equal(t, 2, f.dropTag(t, tag))
		require.Empty(t, f.text(t, one))
		require.Empty(t, f.text(t, two))
		require.NotEmpty(t, f.text(t, other))
		require.Zero(t, f.dropTag(t, tag), "what is dropped bears the tag no more")
	}
}

func testTagFence(t *testing.T, f *fixture) {
	started := time.Now()
	f.dropTag(t, f.key("tag"))
	require.False(t, f.tag(t, f.key("a"), time.Since(started)+10*time.Millisecond, f.key("other"), f.key("tag")),
		"what was loaded before the tag was dropped may be filled")
	require.True(t, f.tag(t, f.key("a"), time.Minute, f.key("other")))
	require.Eventually(t, func() bool { return f.tag(t, f.key("a"), time.Millisecond, f.key("tag")) },
		5*time.Second, time.Millisecond, "what is loaded afterwards may not be filled")
	require.False(t, f.tag(t, f.key("a"), 24*time.Hour, f.key("other")), "a load older than the memory of drops may be filled")
}

func testTagEndsLease(t *testing.T, f *fixture) {
	token := f.lease(t, f.key("a"), nil)
	require.True(t, f.tag(t, f.key("a"), 0, f.key("tag")))
	require.Zero(t, f.dropTag(t, f.key("tag")))
	require.False(t, f.fill(t, f.key("a"), token, nil, `{"n":1}`))
}

func testTagOfMany(t *testing.T, f *fixture) {
	const many = 1200
	for i := range many {
		key := f.key(fmt.Sprint("many", i))
		require.True(t, f.tag(t, key, 0, f.key("tag")))
		f.set(t, key, `{"n":1}`)
	}
	require.Equal(t, many, f.dropTag(t, f.key("tag")))
}

func testTagEmpty(t *testing.T, f *fixture) {
	_, err := f.DeleteTag(f.ctx, "")
	require.Error(t, err)
}

// listTags lists what bears tags among the test's own keys.
func (f *fixture) listTags(t *testing.T) map[string][]cache.Tagged {
	t.Helper()
	tags := make(map[string][]cache.Tagged)
	for tagged, err := range f.Tags(f.ctx) {
		require.NoError(t, err)
		if strings.HasPrefix(tagged.Key, f.key("")) {
			tags[tagged.Key] = append(tags[tagged.Key], tagged)
		}
	}
	return tags
}

func testTagList(t *testing.T, f *fixture) {
	require.Empty(t, f.listTags(t))
	names := []string{f.key("user:1"), f.key("*"), f.key("{c"), f.key("é")}
	for _, key := range awkward(f.key("")) {
		if strings.HasPrefix(key, f.key("")) {
			require.True(t, f.tag(t, key, 0, names...))
			listed := f.listTags(t)
			require.Len(t, listed[key], len(names), "%q", key)
			for _, tagged := range listed[key] {
				require.Contains(t, names, tagged.Tag)
				left := time.Until(time.Unix(0, tagged.Expires))
				require.LessOrEqual(t, left, ttl+time.Second)
				require.Greater(t, left, ttl-time.Minute)
			}
		}
	}
	ok, err := f.Tag(f.ctx, f.key("brief"), []string{names[0]}, short, time.Now())
	require.NoError(t, err)
	require.True(t, ok)
	eventually(t, func() bool { return len(f.listTags(t)[f.key("brief")]) == 0 }, "what has expired is listed")
	for range f.Tags(f.ctx) {
		break // a reader may leave early
	}

	f.dropTag(t, names[0])
	require.Len(t, f.listTags(t)[f.key("é")], len(names)-1)
}

func testTagPutBack(t *testing.T, f *fixture) {
	const many = 1200 // more than a server lists at once
	for _, name := range []string{"a}b", strings.Repeat("long", 200), "short"} {
		tag := f.key(name)
		for i := range many {
			require.True(t, f.tag(t, f.key(fmt.Sprint(name, i)), 0, tag))
		}
		listed := f.listTags(t)
		require.Len(t, listed, many)
		f.dropTag(t, tag)
		require.Empty(t, f.listTags(t))
		for key, tagged := range listed {
			require.Len(t, tagged, 1)
			eventually(t, func() bool { return f.tag(t, key, 0, tagged[0].Tag) }, "a tag may be put back once its drop is over")
			f.set(t, key, `{"n":1}`)
		}
		require.Equal(t, many, f.dropTag(t, tag), "under the name it has had")
	}
}
