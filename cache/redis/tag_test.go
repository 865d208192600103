package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// tagged fills a record that bears tags.
func tagged(t testing.TB, s *Store, key string, tags ...string) {
	t.Helper()
	token, now, err := s.Acquire(t.Context(), key, nil, ttl, true)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	filled, err := s.Fill(t.Context(), key, token, now.Old, record(t, `{"n":1}`), tags, ttl)
	require.NoError(t, err)
	require.True(t, filled)
}

func there(t testing.TB, s *Store, key string) bool {
	t.Helper()
	entry, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	return entry.Record != nil
}

// callsOf is how often the server has carried out a command so far, scripts
// included.
func callsOf(t testing.TB, server *redistest.Server, command string) (n int) {
	t.Helper()
	info, err := server.Client().Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			text, _, _ = strings.Cut(text, ",")
			n, err = strconv.Atoi(text)
			require.NoError(t, err)
		}
	}
	return n
}

func TestDropOfATagTakesAsLongHoweverManyBearIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	const many = 20_000
	tagged(t, s, "first", "tag")
	first, err := s.Get(t.Context(), "first")
	require.NoError(t, err)
	items := make([]cache.Item, many)
	for i := range items {
		items[i] = cache.Item{Key: fmt.Sprint("k", i), Record: first.Record, TTL: ttl}
	}
	require.NoError(t, s.SetMany(t.Context(), items))
	require.True(t, there(t, s, "k17"))
	writes := func() (n int) {
		for _, command := range []string{"set", "unlink", "del", "xadd", "eval", "evalsha"} {
			n += callsOf(t, server, command)
		}
		return n
	}
	before := writes()
	require.NoError(t, s.DropTag(t.Context(), "tag"))
	require.LessOrEqual(t, writes()-before, 5)
	for _, key := range []string{"first", "k0", "k17", fmt.Sprint("k", many-1)} {
		require.False(t, there(t, s, key))
	}
}

func TestDropOfATagNeedsNoRoomInTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	s := open(t, at(server))
	tagged(t, s, "a", "tag")
	tagged(t, s, "b", "other")
	token, _, err := s.Acquire(t.Context(), "loading", nil, ttl, true)
	require.NoError(t, err)
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.Error(t, s.Set(t.Context(), "x", record(t, `{}`), ttl), "the server is full")
	require.True(t, there(t, s, "a"))

	require.NoError(t, s.DropTag(t.Context(), "tag"))
	require.NoError(t, s.DropTag(t.Context(), "new"))
	require.False(t, there(t, s, "a"))
	require.True(t, there(t, s, "b"))
	filled, err := s.Fill(t.Context(), "loading", token, nil, record(t, `{}`), []string{"new"}, ttl)
	require.NoError(t, err)
	require.False(t, filled, "what was loaded before the drop is refused, whether or not there is room")

	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "0").Err())
	require.False(t, there(t, s, "a"))
	filled, err = s.Fill(t.Context(), "loading", token, nil, record(t, `{}`), []string{"new"}, ttl)
	require.NoError(t, err)
	require.False(t, filled, "what was loaded before the drop is filled once there is room")
	tagged(t, s, "loading", "new")
	require.True(t, there(t, s, "loading"))
}

// A lease for tags that is taken while the server is full has no mark.
func TestLoadThatBeganInAFullServerIsNotStoredUnderTags(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	require.NoError(t, server.Client().Set(t.Context(), s.leases.drops(), "no stream", 0).Err())
	token, _, err := s.Acquire(t.Context(), "a", nil, ttl, true)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	filled, err := s.Fill(t.Context(), "a", token, nil, record(t, `{}`), []string{"tag"}, ttl)
	require.NoError(t, err)
	require.False(t, filled)
	require.NoError(t, s.DropTag(t.Context(), "tag"))
	tagged(t, s, "a", "tag") // the list is one again
}

func TestEvictedVersionsAndListsMakeRecordsAbsent(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	client := server.Client()

	tagged(t, s, "a", "tag", "other")
	require.NoError(t, client.Unlink(t.Context(), s.leases.ofTag("tag")).Err())
	require.False(t, there(t, s, "a"), "the tag's version was evicted")
	tagged(t, s, "a", "tag", "other")
	require.True(t, there(t, s, "a"))

	for name, harm := range map[string]func() error{
		"evicted": func() error { return client.Unlink(t.Context(), s.leases.drops()).Err() },
		"trimmed": func() error { return client.XTrimMaxLen(t.Context(), s.leases.drops(), 0).Err() },
		"flushed": func() error { return client.FlushAll(t.Context()).Err() },
		"made anew with the same ids": func() error {
			entries, err := client.XRange(t.Context(), s.leases.drops(), "-", "+").Result()
			if err != nil {
				return err
			}
			require.NotEmpty(t, entries)
			if err := client.Unlink(t.Context(), s.leases.drops()).Err(); err != nil {
				return err
			}
			for _, e := range entries {
				if err := client.Do(t.Context(), "XADD", s.leases.drops(), e.ID, "n", rand.Text()).Err(); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, tag := range []string{"tag", "new " + name} {
				key := "loading" + name + tag
				token, _, err := s.Acquire(t.Context(), key, nil, ttl, true)
				require.NoError(t, err)
				require.NoError(t, s.DropTag(t.Context(), tag))
				require.NoError(t, harm())
				filled, err := s.Fill(t.Context(), key, token, nil, record(t, `{}`), []string{tag}, ttl)
				require.NoError(t, err)
				require.False(t, filled)
				require.False(t, there(t, s, key))
				tagged(t, s, key, tag)
			}
		})
	}
}

// Former versions kept sets under the keys of tags.
func TestKeyOfATagMayHoldSomethingElse(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	tagged(t, s, "a", "tag")
	require.NoError(t, server.Client().Unlink(t.Context(), s.leases.ofTag("tag")).Err())
	require.NoError(t, server.Client().LPush(t.Context(), s.leases.ofTag("tag"), "x").Err())
	require.False(t, there(t, s, "a"))
	tagged(t, s, "a", "tag")
	require.True(t, there(t, s, "a"))
	require.NoError(t, server.Client().Unlink(t.Context(), s.leases.ofTag("tag")).Err())
	require.NoError(t, server.Client().LPush(t.Context(), s.leases.ofTag("tag"), "x").Err())
	require.NoError(t, s.DropTag(t.Context(), "tag"))
	require.False(t, there(t, s, "a"))
}

func TestVersionOfATagOutlivesItsRecords(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	left := func() time.Duration {
		d, err := server.Client().PTTL(t.Context(), s.leases.ofTag("tag")).Result()
		require.NoError(t, err)
		return d
	}
	fill := func(key string, d time.Duration) {
		token, _, err := s.Acquire(t.Context(), key, nil, ttl, true)
		require.NoError(t, err)
		filled, err := s.Fill(t.Context(), key, token, nil, record(t, `{}`), []string{"tag"}, d)
		require.NoError(t, err)
		require.True(t, filled)
	}
	fill("a", time.Second)
	require.Greater(t, left(), time.Second)
	fill("b", 24*time.Hour)
	require.Greater(t, left(), 24*time.Hour)
	entry, err := s.Get(t.Context(), "b")
	require.NoError(t, err)
	_, err = s.Touch(t.Context(), "b", entry.Record, 240*time.Hour)
	require.NoError(t, err)
	require.Greater(t, left(), 240*time.Hour)
	require.NoError(t, s.DropTag(t.Context(), "tag"))
	require.Greater(t, left(), 240*time.Hour, "what was dropped may be in a backup for as long")
	require.NoError(t, server.Client().Unlink(t.Context(), s.leases.ofTag("tag")).Err())
	_, err = s.Touch(t.Context(), "b", entry.Record, 24*time.Hour)
	require.NoError(t, err)
	require.False(t, there(t, s, "b"), "a touch brings no tag back")
	require.Greater(t, func() time.Duration {
		d, err := server.Client().PTTL(t.Context(), s.leases.drops()).Result()
		require.NoError(t, err)
		return d
	}(), time.Minute, "every key has a TTL")
}

// Records without tags cost nothing more, and records with tags no more than a
// round trip where their versions are not known in this process.
func TestTagsCostNoMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	in := newFleet(t, 1, at(server), cache.LookupOptions{})[0]
	require.NoError(t, in.store.Set(t.Context(), "session:user:plain", record(t, `{"v":1}`), ttl))
	for i := range 5 {
		tagged(t, in.store, fmt.Sprint("session:user:", i), "tag")
	}
	cost := func(key string) int {
		before := callsOf(t, server, "getrange")
		require.Equal(t, cache.OutcomeHit, in.look(key).Outcome)
		return callsOf(t, server, "getrange") - before
	}
	require.Equal(t, 1, cost("session:user:plain"))
	require.Equal(t, 2, cost("session:user:0"))
	for i := 1; i < 5; i++ {
		require.Equal(t, 1, cost(fmt.Sprint("session:user:", i)), "the version is known")
	}
	for i := range 5 {
		require.Zero(t, cost(fmt.Sprint("session:user:", i)))
	}
	got, err := in.GetMany(t.Context(), []string{"session:user:0", "session:user:1"})
	require.NoError(t, err)
	require.Len(t, got[0].Versions, 1)
	require.Same(t, got[0].Versions[0], got[1].Versions[0], "bearers share what they know of the tag")
}

// A drop ends the copies of what bears the tag, here and elsewhere, and no others.
func TestDropOfATagEndsItsCopiesAlone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	fleet := newFleet(t, 2, at(server), cache.LookupOptions{})
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprint("session:user:", i))
		tagged(t, fleet[0].store, keys[i], fmt.Sprint("user:", i%10))
	}
	warm := func(in *instance) (copies []string) {
		for _, key := range keys {
			if r := in.look(key); r.From == "near" {
				copies = append(copies, key)
			}
		}
		return copies
	}
	for _, in := range fleet {
		require.Eventually(t, func() bool { return len(warm(in)) == len(keys) }, patience, time.Millisecond)
	}
	var waits []time.Duration
	for n := range 9 {
		gone := fmt.Sprint("session:user:", n)
		require.NoError(t, fleet[0].DropTag(t.Context(), fmt.Sprint("user:", n)))
		dropped := time.Now()
		require.False(t, found(fleet[0], gone), "it is seen at once where it was dropped")
		require.Eventually(t, func() bool { return !found(fleet[1], gone) }, patience, 100*time.Microsecond)
		waits = append(waits, time.Since(dropped))
		keys = slices.DeleteFunc(keys, func(key string) bool { return strings.HasSuffix(key, strconv.Itoa(n)) })
		for _, in := range fleet {
			require.Len(t, warm(in), len(keys), "copies of others were dropped")
		}
	}
	slices.Sort(waits)
	require.Less(t, waits[len(waits)/2], 10*time.Millisecond, "on another node: %v", waits)
}

func found(in *instance, key string) bool {
	r := in.lookup.Find(context.Background(), cache.Request{Key: key, ID: key})
	return r.OK()
}

// Redis is away when tags and keys are to be dropped: this node refuses their
// records at once, and drops them as soon as Redis is back.
func TestDropsAreCarriedOutOnceRedisIsBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	in := newFleet(t, 1, at(server), cache.LookupOptions{StaleIfError: time.Hour})[0]
	keys := []string{"session:user:tagged", "session:user:key", "session:user:other"}
	for _, key := range keys {
		tagged(t, in.store, key, "tag of "+key)
		require.Eventually(t, func() bool { return in.look(key).From == "near" }, patience, time.Millisecond)
	}
	server.Pause()
	drop := func(invalidate func(context.Context) error) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var pending *cache.PendingError
		require.ErrorAs(t, invalidate(ctx), &pending)
	}
	drop(func(ctx context.Context) error { return in.DropTag(ctx, "tag of "+keys[0]) })
	drop(func(ctx context.Context) error { _, err := in.Delete(ctx, keys[1]); return err })
	require.Equal(t, 2, in.Pending().Total())
	for _, key := range keys[:2] {
		require.Equal(t, cache.OutcomeError, in.look(key).Outcome, "neither a near nor a stale copy is used")
	}
	server.Continue()
	require.Eventually(t, func() bool { return in.Pending().Total() == 0 }, patience, time.Millisecond)
	require.False(t, there(t, in.store, keys[0]))
	require.False(t, there(t, in.store, keys[1]))
	require.Eventually(t, func() bool { return found(in, keys[2]) }, patience, time.Millisecond)
}
