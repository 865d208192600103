package near

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tagged keeps a copy that bears the version of a tag, and returns that.
func (c *Cache[T, R]) tagged(key string, r R, tag, version string) *Version {
	ticket := c.Begin(key, true)
	v := c.BeginVersion(tag).Keep(version)
	ticket.Keep(Copy[T]{Record: r, Expires: start.Add(time.Hour).UnixNano(), Versions: []*Version{v}}, start)
	return v
}

func TestCopyEndsWithTheVersionOfItsTag(t *testing.T) {
	t.Parallel()
	c := trusted(t, Options{}, Coherent)
	a, b := c.tagged("a", rec("a"), "tag", "v1"), c.tagged("b", rec("b"), "tag", "v1")
	c.tagged("c", rec("c"), "other", "v1")
	require.Same(t, a, b, "all who bear the tag share what is known of it")
	has := func(key string) bool { _, ok := c.Peek(key, true, start); return ok }
	require.True(t, has("a") && has("b") && has("c"))
	known, ok := c.Version("tag", time.Now())
	require.True(t, ok)
	require.Same(t, a, known)

	c.Invalidate("tag")
	require.True(t, a.Ended())
	require.False(t, has("a") || has("b"))
	require.True(t, has("c"), "copies of other tags stay")
	_, stale := c.Stale("a", time.Hour, start)
	require.False(t, stale)
	_, ok = c.Version("tag", time.Now())
	require.False(t, ok)
}

func TestVersionThatMayBeOutOfDateIsNotKept(t *testing.T) {
	t.Parallel()
	for name, doubt := range map[string]func(*recordCache){
		"written":         func(c *recordCache) { c.Invalidate("tag") },
		"another version": func(c *recordCache) { c.BeginVersion("tag").Keep("v2") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := trusted(t, Options{}, Coherent)
			ticket := c.BeginVersion("tag")
			doubt(c)
			require.True(t, ticket.Keep("v1").Ended())
			_, ok := c.Version("tag", time.Now())
			require.False(t, ok)
			require.False(t, c.BeginVersion("tag").Keep("v1").Ended(), "it may be read again")
		})
	}
	c := trusted(t, Options{}, None)
	require.True(t, c.BeginVersion("tag").Keep("v1").Ended(), "nothing tells of writes")
	require.True(t, VersionTicket{}.Keep("v1").Ended())
}

func TestVersionIsKnownAsLongAsCopiesAreTrusted(t *testing.T) {
	t.Parallel()
	c := trusted(t, Options{}, Coherent)
	v := c.tagged("a", rec("a"), "tag", "v1")
	c.TrustUntil(time.Now().Add(-time.Second))
	_, ok := c.Version("tag", time.Now())
	require.False(t, ok, "the lease is over")
	require.False(t, v.Ended())

	// copies that are kept for stale use end with their tag, too
	c.SetTrust(None)
	_, ok = c.Stale("a", time.Hour, start.Add(time.Minute))
	require.True(t, ok)
	c.Invalidate("tag")
	_, ok = c.Stale("a", time.Hour, start.Add(time.Minute))
	require.False(t, ok)
}

func TestVersionThatIsEvictedEnds(t *testing.T) {
	t.Parallel()
	c := trusted(t, Options{MaxSize: 100 << 10}, Coherent)
	versions := make([]*Version, 2000)
	for i := range versions {
		versions[i] = c.BeginVersion(fmt.Sprint("tag", i)).Keep("v1")
	}
	require.Eventually(t, func() bool {
		known := 0
		for i, v := range versions {
			if _, ok := c.Version(fmt.Sprint("tag", i), time.Now()); ok {
				known++
			} else if !v.Ended() {
				return false
			}
		}
		return known < 500
	}, 10*time.Second, time.Millisecond)
}

func TestHitWithTagsAllocatesNothing(t *testing.T) {
	c := trusted(t, Options{}, Coherent)
	c.tagged("a", rec("a"), "tag", "v1")
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, ok := c.Peek("a", true, start); !ok {
			t.Error("not a hit")
		}
	}))
}
