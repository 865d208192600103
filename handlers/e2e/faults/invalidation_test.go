// An invalidation is done, or its answer says that it is not.

package faults

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestInvalidationsSucceedOrReportTheirFailure(t *testing.T) {
	runAll(t, []scenario{
		{name: "a purge of a tag drops its records on every node", run: purgeOfATag},
		{name: "a purge of a tag that Redis has evicted drops its records", run: purgeOfAnEvictedTag},
		{name: "a purge of a tag during a load drops what the load brings", run: purgeDuringLoads},
		{name: "a purge takes no longer for a large tag", run: purgeOfALargeTag},
		{name: "a logout in a full Redis is done", run: logoutInAFullRedis},
		{name: "a logout during an outage is said to fail, and is done later", run: logoutDuringAnOutage},
	})
}

// userSessions logs a user in n times, and uses each session on each node.
func (f *fleet) userSessions(user string, n int) (ids []string) {
	f.t.Helper()
	for range n {
		id := fmt.Sprintf("%s-%d", user, f.last.Add(1))
		f.app.login(id, user)
		ids = append(ids, id)
	}
	for i, node := range f.nodes {
		for _, id := range ids {
			require.Eventually(f.t, func() bool {
				got, err := node.send("GET", "/app", id, "")
				return err == nil && got.status == 200 && got.near
			}, 10*time.Second, time.Millisecond, "node %d, session %s", i, id)
		}
	}
	return ids
}

// logout has the application forget sessions.
func (f *fleet) logout(ids []string) {
	for _, id := range ids {
		f.app.logout(id)
	}
}

// letIn returns which of these sessions a node lets in.
func (f *fleet) letIn(i int, path string, ids []string) (in []string) {
	for _, id := range ids {
		if got, err := f.nodes[i].send("GET", path, id, ""); err == nil && got.status == 200 {
			in = append(in, id)
		}
	}
	return in
}

// refusedEverywhere fails the test where a node lets one of these sessions in
// later than a bound from now.
func (f *fleet) refusedEverywhere(path string, ids []string, bound time.Duration) {
	f.t.Helper()
	done := time.Now()
	for i := range f.nodes {
		for {
			sent := time.Now()
			in := f.letIn(i, path, ids)
			if len(in) == 0 {
				break
			}
			if sent.Sub(done) > bound {
				f.t.Errorf("%v after the invalidation, node %d lets %d of %d sessions in: %s", sent.Sub(done), i, len(in), len(ids), strings.Join(in, " "))
				break
			}
		}
	}
	// nor does one come back
	for i := range f.nodes {
		if in := f.letIn(i, path, ids); len(in) > 0 {
			f.t.Errorf("node %d lets sessions in again: %s", i, strings.Join(in, " "))
		}
	}
}

// measureNoise measures requests that do nothing.
func (f *fleet) measureNoise() time.Duration {
	for range 100 {
		for i := range f.nodes {
			f.control(i)
		}
	}
	return f.oracle.machineNoise()
}

func purgeOfATag(t *testing.T) {
	f := newFleet(t, setup{})
	noise := f.measureNoise()
	ids := f.userSessions("anna", 50)
	others := f.userSessions("bert", 5)
	f.logout(ids)
	got := f.nodes[0].api(t, http.MethodPost, "purge", `{"tag": "user:anna"}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	f.refusedEverywhere("/app", ids, healthBound+noise)
	for i := range f.nodes {
		require.Len(t, f.letIn(i, "/app", others), len(others), "of another user, at node %d", i)
	}
}

func purgeOfAnEvictedTag(t *testing.T) {
	f := newFleet(t, setup{args: []string{"--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"}})
	noise := f.measureNoise()
	ids := f.userSessions("anna", 30)
	// the records stay in use, their tag does not
	filler := strings.Repeat("x", 10<<10)
	evicted := func() bool {
		for _, line := range strings.Split(f.truth.(*redis.Client).Info(t.Context(), "stats").Val(), "\r\n") {
			if n, found := strings.CutPrefix(line, "evicted_keys:"); found {
				count, err := strconv.Atoi(n)
				require.NoError(t, err)
				return count > 2000
			}
		}
		return false
	}
	for n := 0; !evicted(); n++ {
		pipe := f.truth.Pipeline()
		for i := range 100 {
			pipe.Set(t.Context(), fmt.Sprintf("filler:%d", n*100+i), filler, time.Hour)
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		f.letIn(n%nodes, "/app", ids)
	}
	f.logout(ids)
	got := f.nodes[0].api(t, http.MethodPost, "purge", `{"tag": "user:anna"}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	f.refusedEverywhere("/app", ids, healthBound+noise)
}

func purgeDuringLoads(t *testing.T) {
	newFleet(t, setup{}).purgeDuringLoads(func() {})
}

// purgeDuringLoads purges a tag while records that will bear it are being loaded,
// and something else happens before the purge.
func (f *fleet) purgeDuringLoads(happens func()) {
	t := f.t
	first := f.userSessions("anna", 1)
	noise := f.measureNoise()
	f.app.slow.Store(int64(300 * time.Millisecond))
	var late []string
	for n := range 15 {
		id := fmt.Sprintf("late-%d", n)
		f.app.login(id, "anna")
		late = append(late, id)
	}
	before := f.app.total()
	var loads sync.WaitGroup
	for n, id := range late {
		loads.Go(func() { _, _ = f.nodes[1+n%2].send("GET", "/app", id, "") })
	}
	require.Eventually(t, func() bool { return f.app.total() == before+len(late) }, 10*time.Second, time.Millisecond)
	f.logout(append(late, first...)) // the application has said yes to all that are under way
	happens()
	got := f.nodes[0].api(t, http.MethodPost, "purge", `{"tag": "user:anna"}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	loads.Wait()
	f.app.slow.Store(0)
	f.refusedEverywhere("/app", append(late, first...), healthBound+noise)
}

func purgeOfALargeTag(t *testing.T) {
	f := newFleet(t, setup{})
	n := 1000
	if soak {
		n = 20_000
	}
	purge := func(user string, n int) time.Duration {
		var ids []string
		for range n {
			id := fmt.Sprintf("%s-%d", user, f.last.Add(1))
			f.app.login(id, user)
			ids = append(ids, id)
		}
		require.Len(t, f.letIn(0, "/app", ids), n)
		f.logout(ids)
		began := time.Now()
		got := f.nodes[1].api(t, http.MethodPost, "purge", `{"tag": "user:`+user+`"}`)
		took := time.Since(began)
		require.Equal(t, http.StatusOK, got.status, got.body)
		for i := range f.nodes {
			require.Empty(t, f.letIn(i, "/app", ids), "node %d", i)
		}
		return took
	}
	var small []time.Duration
	for i := range 10 {
		small = append(small, purge(fmt.Sprintf("small%d", i), 1))
	}
	noise := f.measureNoise()
	large := purge("large", n)
	t.Logf("of one record %v, of %d records %v, noise %v", quantile(small, 1), n, large, noise)
	require.LessOrEqual(t, large, quantile(small, 1)+noise+healthBound)
}

// A logout is a request to lookup_invalidate, or a purge through the admin API.
var logouts = map[string]func(f *fleet, ids []string) answer{
	"lookup_invalidate of a tag": func(f *fleet, _ []string) answer {
		got, err := f.nodes[0].send(http.MethodPost, "/logout-user?user=anna", "", "")
		require.NoError(f.t, err)
		return got
	},
	"purge of a tag": func(f *fleet, _ []string) answer {
		return f.nodes[0].api(f.t, http.MethodPost, "purge", `{"tag": "user:anna"}`)
	},
	"lookup_invalidate of keys": func(f *fleet, ids []string) (got answer) {
		for _, id := range ids {
			var err error
			got, err = f.nodes[0].send(http.MethodPost, "/logout", id, "")
			require.NoError(f.t, err)
		}
		return got
	},
	"deletion of keys": func(f *fleet, ids []string) (got answer) {
		for _, id := range ids {
			got = f.nodes[0].api(f.t, http.MethodDelete, "keys/"+key(id), "")
		}
		return got
	},
}

// sessionsFor makes sessions of the kind that a logout is about.
func (f *fleet) sessionsFor(logout string) (path string, ids []string) {
	if strings.HasSuffix(logout, "of a tag") {
		return "/app", f.userSessions("anna", 5)
	}
	return "/plain", f.oracle.allLive()[:5]
}

func logoutInAFullRedis(t *testing.T) {
	for name, logout := range logouts {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, setup{})
			noise := f.measureNoise()
			path, ids := f.sessionsFor(name)
			f.do("CONFIG", "SET", "maxmemory", "1")
			f.logout(ids)
			got := logout(f, ids)
			require.Less(t, got.status, 300, got.body)
			f.refusedEverywhere(path, ids, healthBound+noise)
		})
	}
}

// While a node cannot reach Redis, it says that a logout is not done, refuses
// the sessions itself from that moment on, and carries the logout out when
// Redis is back, even if no delete follows.
func logoutDuringAnOutage(t *testing.T) {
	for name, logout := range logouts {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, setup{})
			path, ids := f.sessionsFor(name)
			f.nodes[0].proxy.goAway()
			f.logout(ids)
			got := logout(f, ids)
			require.GreaterOrEqual(t, got.status, 500, got.body)
			require.Empty(t, f.letIn(0, path, ids), "the node itself refuses them at once")
			f.nodes[0].proxy.comeBack()
			back := time.Now()
			require.Empty(t, f.letIn(0, path, ids), "also when Redis is back and knows nothing yet")
			noise := f.measureNoise()
			f.refusedEverywhere(path, ids, 2*time.Second+noise-min(2*time.Second, time.Since(back)))
		})
	}
}
