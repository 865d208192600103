package near

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/clocktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type record struct {
	slot      Slot
	text, key string
	size      int
	grown     atomic.Int64 // what readers have derived
	version   *Version
	copied    func() // called by WithKey
}

func (r *record) Text() string { return r.text }
func (r *record) Key() string  { return r.key }
func (r *record) Slot() *Slot  { return &r.slot }
func (r *record) Memory() int {
	return 100 + len(r.text) + len(r.key) + r.size + int(r.grown.Load())
}
func (r *record) grow(size int) { r.grown.Add(int64(size)) }

func (r *record) Version() *Version { return r.version }

func (r *record) WithKey(key string, version *Version, _ bool) *record {
	if r.copied != nil {
		r.copied()
	}
	return &record{text: r.text, key: key, size: r.size, version: version}
}

func rec(text string) *record { return &record{text: text} }

type recordCache = Cache[record, *record]

func trusted(t testing.TB, options Options, trust Trust) *recordCache {
	t.Helper()
	c := New[record](options)
	c.SetTrust(trust)
	t.Cleanup(func() { c.SetTrust(None) })
	return c
}

func (c *Cache[T, R]) keep(key string, r R, expires time.Time, now time.Time) {
	c.Begin(key, true).Keep(Copy[T]{Record: r, Expires: expires.UnixNano()}, now)
}

var start = time.Unix(1_700_000_000, 0)

func TestCopyLivesForTheLesserOfItsTTLAndTheCaches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		expires, lives time.Duration
	}{
		"expires late": {time.Hour, 30 * time.Second},
		"expires soon": {time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			n := trusted(t, Options{TTL: 30 * time.Second}, Coherent)
			n.keep("k", rec("v"), start.Add(c.expires), start)
			_, ok := n.Peek("k", true, start.Add(c.lives-1))
			require.True(t, ok)
			_, ok = n.Peek("k", true, start.Add(c.lives))
			require.False(t, ok)
		})
	}
}

func TestInvalidationBeatsEveryReadThatBeganBeforeIt(t *testing.T) {
	t.Parallel()
	for name, doubt := range map[string]func(*recordCache){
		"invalidate":        func(c *recordCache) { c.Invalidate("k") },
		"flush":             func(c *recordCache) { c.Flush() },
		"doubt and trust":   func(c *recordCache) { c.SetTrust(None); c.SetTrust(Coherent) },
		"invalidate twice":  func(c *recordCache) { c.Invalidate("k"); c.Invalidate("k") },
		"written and doubt": func(c *recordCache) { c.Invalidate("k"); c.SetTrust(Brief); c.SetTrust(Coherent) },
	} {
		t.Run(name, func(t *testing.T) {
			n := trusted(t, Options{}, Coherent)
			ticket := n.Begin("k", true)
			doubt(n)
			ticket.Keep(Copy[record]{Record: rec("old")}, start)
			_, ok := n.Peek("k", true, start)
			require.False(t, ok, "a read that began before the write was kept")

			n.keep("k", rec("new"), start.Add(time.Hour), start)
			doubt(n)
			_, ok = n.Peek("k", true, start)
			require.False(t, ok, "a copy outlived the write")
		})
	}
}

func TestReaderThatSawTheNewerIsNotShownTheOlder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ first, second *record }{
		"older kept last": {rec("new"), rec("old")},
		"newer kept last": {rec("old"), rec("new")},
		"gone seen last":  {rec("old"), nil},
		"gone seen first": {nil, rec("old")},
	} {
		t.Run(name, func(t *testing.T) {
			n := trusted(t, Options{}, Coherent)
			one, two, late := n.Begin("k", true), n.Begin("k", true), n.Begin("k", true)
			one.Keep(Copy[record]{Record: c.first}, start)
			two.Keep(Copy[record]{Record: c.second}, start)
			_, ok := n.Peek("k", true, start)
			require.False(t, ok)
			late.Keep(Copy[record]{Record: c.first}, start)
			_, ok = n.Peek("k", true, start)
			require.False(t, ok, "a third reader brought back what is in doubt")
			n.keep("k", rec("new"), start.Add(time.Hour), start)
			_, ok = n.Peek("k", true, start)
			require.True(t, ok)
		})
	}
	n := trusted(t, Options{}, Coherent)
	overtaken := n.Begin("k", true)
	n.Invalidate("k")
	n.keep("k", rec("old"), start.Add(time.Hour), start)
	overtaken.Keep(Copy[record]{Record: rec("new")}, start)
	_, ok := n.Peek("k", true, start)
	require.False(t, ok, "who is overtaken knows better, too")
}

// A reader that began before copies were trusted may come back after another
// one has kept a copy of what was overwritten meanwhile.
func TestALateReaderOfAnEarlierGenerationDropsTheCopy(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*recordCache){
		"trust":       func(c *recordCache) { c.SetTrust(Coherent) },
		"flush":       func(c *recordCache) { c.SetTrust(Coherent); c.Flush() },
		"trust again": func(c *recordCache) { c.SetTrust(Coherent); c.SetTrust(None); c.SetTrust(Coherent) },
	} {
		t.Run(name, func(t *testing.T) {
			n := trusted(t, Options{}, None)
			early, gone := n.Begin("k", true), n.Begin("k", true)
			change(n)
			n.keep("k", rec("old"), start.Add(time.Hour), start)
			early.Keep(Copy[record]{Record: rec("new")}, start)
			_, ok := n.Peek("k", true, start)
			require.False(t, ok)
			n.keep("k", rec("new"), start.Add(time.Hour), start)
			_, ok = n.Peek("k", true, start)
			require.True(t, ok)
			gone.Keep(Copy[record]{}, start)
			_, ok = n.Peek("k", true, start)
			require.False(t, ok)
		})
	}
}

func TestNothingIsServedWithoutTrust(t *testing.T) {
	t.Parallel()
	n := New[record](Options{})
	n.keep("k", rec("v"), start.Add(time.Hour), start)
	_, ok := n.Peek("k", false, start)
	require.False(t, ok)
	require.False(t, n.Stats().Coherent)
}

func TestCopiesAreUsedBrieflyAfterALossOfTrustWhereThatIsAllowed(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{}, Brief)
	n.Begin("file", false).Keep(Copy[record]{Record: rec("v")}, start)
	n.Begin("session", true).Keep(Copy[record]{Record: rec("v")}, start)
	_, ok := n.Peek("file", false, start)
	require.True(t, ok)
	_, ok = n.Peek("file", true, start)
	require.False(t, ok, "an unverified copy was served to a strict lookup")
	_, ok = n.Peek("session", false, start)
	require.False(t, ok)
	_, ok = n.Peek("file", false, start.Add(BriefTTL))
	require.False(t, ok)
}

func TestTrustIsALease(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{}, None)
	now := time.Now()
	n.TrustUntil(now.Add(time.Second))
	n.keep("k", rec("v"), now.Add(time.Hour), now)
	for _, c := range []struct {
		name   string
		at     time.Time
		served bool
	}{
		{"before its end", now.Add(time.Second - 1), true},
		{"at its end", now.Add(time.Second), false},
		{"after it", now.Add(time.Hour), false},
		{"after it, by the wall clock alone", now.Add(time.Hour).Round(0), false},
	} {
		_, ok := n.Peek("k", true, c.at)
		require.Equal(t, c.served, ok, c.name)
	}
	n.TrustUntil(now.Add(3 * time.Second))
	_, ok := n.Peek("k", true, now.Add(2*time.Second))
	require.True(t, ok, "a lease that is extended serves what was kept")
	n.Invalidate("k")
	n.TrustUntil(now.Add(4 * time.Second))
	_, ok = n.Peek("k", true, now.Add(2*time.Second))
	require.False(t, ok)
	n.TrustUntil(now.Add(-1))
	require.False(t, n.Coherent())
	require.False(t, n.Stats().Coherent)
	n.SetTrust(None)
	n.TrustUntil(time.Now().Add(time.Hour))
	require.True(t, n.Coherent())
}

// While a virtual machine is suspended its monotonic clock may stand still.
func TestLeaseEndsByEitherClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := newLease(now.Add(time.Second))
	require.True(t, l.holds(now))
	l.wall = now.UnixNano() // the wall clock is ahead of the monotonic one
	require.False(t, l.holds(now))
	l = newLease(now.Add(time.Second))
	l.until = now // the wall clock was set back
	require.False(t, l.holds(now))
	var none *lease
	require.False(t, none.holds(now))
}

// Where the wall clock is set back, deadlines are far ahead.
func TestCopiesAreNotUsedForLongerIfTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	for trust, ttl := range map[Trust]time.Duration{Coherent: time.Minute, Brief: BriefTTL} {
		n := trusted(t, Options{TTL: time.Minute}, trust)
		now := time.Now()
		n.Begin("k", false).Keep(Copy[record]{Record: rec("v")}, now)
		_, ok := n.Peek("k", false, now.Add(ttl-1))
		require.True(t, ok)
		set := clocktest.SetBack(t, now, time.Hour)
		_, ok = n.Peek("k", false, set)
		require.False(t, ok)
		n.SetTrust(None)
		_, ok = n.Stale("k", time.Minute, now)
		require.True(t, ok)
		_, ok = n.Stale("k", time.Minute, set)
		require.False(t, ok)
	}
}

func TestStaleCopiesSurviveLostTrustButNoWrite(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{TTL: time.Second}, Coherent)
	for _, key := range []string{"kept", "written"} {
		n.keep(key, rec("v"), start.Add(time.Hour), start)
	}
	n.SetTrust(None)
	n.Invalidate("written")
	_, ok := n.Stale("kept", time.Minute, start.Add(time.Minute))
	require.True(t, ok)
	_, ok = n.Stale("kept", time.Minute, start.Add(2*time.Minute))
	require.False(t, ok, "older than the caller takes")
	_, ok = n.Stale("written", time.Minute, start)
	require.False(t, ok, "what was written over is never served, not even as stale")
	n.SetTrust(Coherent)
	_, ok = n.Stale("kept", time.Minute, start.Add(time.Minute))
	require.False(t, ok, "the reserve goes when trust is back")
}

func TestFlushLeavesNothingStale(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{}, Coherent)
	n.keep("k", rec("v"), start.Add(time.Hour), start)
	n.Flush()
	n.SetTrust(None)
	_, ok := n.Stale("k", time.Hour, start)
	require.False(t, ok)
}

// Versions of one key go up; a reader through the near cache must never
// see one older than the last that had been invalidated before the read.
func TestConcurrentReadersNeverGoBack(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{}, Coherent)
	versions := make([]*record, 2001)
	for i := range versions {
		versions[i] = rec(strconv.Itoa(i))
	}
	var stored, told atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for told.Load() < int64(len(versions)-1) {
				least := told.Load()
				e, ok := n.Peek("k", true, start)
				if !ok {
					ticket := n.Begin("k", true)
					e = Copy[record]{Record: versions[stored.Load()]}
					runtime.Gosched()
					ticket.Keep(e, start)
				}
				seen, err := strconv.ParseInt(e.Record.text, 10, 64)
				if err != nil || seen < least {
					t.Errorf("saw version %d after %d was told", seen, least)
					return
				}
			}
		})
	}
	for v := range len(versions) {
		stored.Store(int64(v))
		n.Invalidate("k")
		told.Store(int64(v))
		if rand.IntN(100) == 0 {
			n.SetTrust(None)
			n.SetTrust(Coherent)
		}
		runtime.Gosched()
	}
	group.Wait()
}

func TestSizeIsBounded(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{MaxSize: 64 << 10}, Coherent)
	for i := range 10_000 {
		n.keep(fmt.Sprint("key", i), rec("some text"), start.Add(time.Hour), start)
	}
	require.Eventually(t, func() bool {
		s := n.Stats()
		return s.Bytes <= 64<<10 && s.Evictions > 0 && s.Entries < 1000
	}, 5*time.Second, time.Millisecond)
}

func TestHitAllocatesNothing(t *testing.T) {
	n := trusted(t, Options{}, Coherent)
	n.keep("k", rec("v"), start.Add(time.Hour), start)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, ok := n.Peek("k", true, start); !ok {
			t.Fatal("not there")
		}
	}))
}

// go test -bench . ./cache/near; compare Peek with the bare read under it.
func BenchmarkPeek(b *testing.B) {
	n := trusted(b, Options{}, Coherent)
	n.keep("k", rec("v"), start.Add(time.Hour), start)
	b.Run("near", func(b *testing.B) {
		for b.Loop() {
			n.Peek("k", true, start)
		}
	})
	b.Run("table", func(b *testing.B) {
		copies := n.generation.Load().copies
		for b.Loop() {
			copies.get(copies.hash("k"), "k")
		}
	})
}

func TestACopyPastItsTTLIsKnownToHaveOutlivedIt(t *testing.T) {
	t.Parallel()
	c := trusted(t, Options{TTL: time.Minute}, Coherent)
	require.False(t, c.Outlived("k", start), "there is none")
	c.keep("k", rec("1"), start.Add(time.Hour), start)
	later := start.Add(2 * time.Minute)
	_, served := c.Peek("k", false, later)
	require.False(t, served)
	require.True(t, c.Outlived("k", later))
	require.False(t, c.Outlived("k", start.Add(time.Hour)), "its record has expired too")
	c.Invalidate("k")
	require.False(t, c.Outlived("k", later))
	c.SetTrust(None)
	require.False(t, c.Outlived("k", later))
}
