package cachetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func tagTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"a tag drops what bears it":                    testTagDrops,
		"a dropped tag keeps older loads from filling": testTagFence,
		"a tag ends the leases of what bears it":       testTagEndsLease,
		"a tag has as many keys as it takes":           testTagOfMany,
		"a tag must not be empty":                      testTagEmpty,
	}
}

func (f *fixture) tag(t *testing.T, key string, since time.Duration, tags ...string) bool {
	t.Helper()
	ok, err := f.Tag(f.ctx, key, tags, ttl, since)
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
