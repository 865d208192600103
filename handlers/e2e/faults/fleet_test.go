package faults

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// nodes is the number of Caddys that share a Redis.
const nodes = 3

// liveSessions is the number of sessions at the start.
const liveSessions = 20

// fleet is three Caddys, their Redis and the application behind them.
type fleet struct {
	t        *testing.T
	redis    *redistest.Server   // nil in a cluster and with sentinels
	sentinel *redistest.Sentinel // nil unless there are sentinels
	cluster  *redistest.Cluster  // nil unless there is a cluster
	truth    redis.UniversalClient
	nodes    []*node
	app      *application
	oracle   *oracle
	path     string // where the traffic goes
	option   func(i int) string
	more     func(app *application) string // routes; nil: none

	last    atomic.Int64   // the number of the last session
	probes  sync.WaitGroup // requests that wait for a refusal
	stopped chan struct{}  // closed when the traffic stops
}

// setup are the options of a fleet.
type setup struct {
	args    []string                      // of redis-server
	users   []string                      // of redis-server; see redistest.Options
	env     []string                      // the same
	options string                        // more options of redis, in the global option
	routes  func(app *application) string // more of them
	files   int                           // see node
}

// routes are the same on each node.
func (f *fleet) routes() string {
	more := ""
	if f.more != nil {
		more = f.more(f.app)
	}
	return more + `
	handle /plain {
		session_lookup {cookie.session}
		respond in
	}
	handle /app {
		session_lookup {cookie.session} {
			key app:{id}
			source http ` + f.app.url + `/auth
			tag user:{http.session.user}
		}
		respond in
	}
	handle /logout {
		lookup_invalidate session:user:{cookie.session}
		respond 204
	}
	handle /logout-user {
		lookup_invalidate {
			tag user:{query.user}
		}
		respond 204
	}
`
}

// newFleet starts a Redis and three nodes, each behind a proxy of its own.
func newFleet(t *testing.T, s setup) *fleet {
	t.Helper()
	server := redistest.StartWith(t, redistest.Options{Users: s.users, Env: s.env, Args: append([]string{"--enable-debug-command", "yes"}, s.args...)})
	f := &fleet{t: t, redis: server, truth: server.Client(), more: s.routes}
	for range nodes {
		f.nodes = append(f.nodes, &node{proxy: newProxy(t, server.Addr()), files: s.files})
	}
	f.option = func(i int) string {
		return "\tfilewallball {\n\t\tredis " + f.nodes[i].proxy.addr() + " {\n" + s.options + "\n\t\t}\n\t}"
	}
	f.start()
	return f
}

// start starts the nodes, and creates sessions of which all nodes have near copies.
func (f *fleet) start() {
	f.t.Helper()
	f.oracle, f.app, f.path = newOracle(), newApplication(f.t), "/plain"
	for i, n := range f.nodes {
		n.page, n.admin = ports.Addr(f.t), ports.Addr(f.t)
		n.start(f.t, f.option(i), f.routes())
	}
	for _, n := range f.nodes {
		n.await(f.t)
	}
	for range liveSessions {
		f.grant(f.t.Context())
	}
	f.awaitNear(30 * time.Second)
}

// grant creates a session.
func (f *fleet) grant(ctx context.Context) string {
	f.t.Helper()
	id := fmt.Sprintf("s%d", f.last.Add(1))
	require.NoError(f.t, f.truth.Set(ctx, key(id), `{"user": "u"}`, time.Hour).Err())
	f.oracle.granted(id)
	return id
}

// key is the key of a session's record.
func key(id string) string { return "session:user:" + id }

// revoke deletes a session in Redis, like an application.
func (f *fleet) revoke(ctx context.Context, id string) error {
	f.oracle.unclear(id)
	if err := f.truth.Del(ctx, key(id)).Err(); err != nil {
		return err
	}
	f.oracle.gone(id, time.Now())
	return nil
}

// awaitNear waits until all nodes answer for all live sessions from near
// copies, and reports what is missing if they do not.
func (f *fleet) awaitNear(within time.Duration) (missing string) {
	f.t.Helper()
	for end := time.Now().Add(within); ; {
		if missing = f.notNear(); missing == "" {
			return ""
		}
		if time.Now().After(end) {
			return missing
		}
	}
}

// notNear describes which nodes do not answer from near copies, and why.
func (f *fleet) notNear() string {
	var missing []string
	for i, n := range f.nodes {
		for _, id := range f.oracle.allLive() {
			if got, err := n.send("GET", f.path, id, ""); err != nil || got.status != 200 || !got.near {
				missing = append(missing, fmt.Sprintf("node %d, session %s: status %d, near %t, %v", i, id, got.status, got.near, err))
				break
			}
		}
	}
	return strings.Join(missing, "; ")
}

// attempts is the number of connections that the nodes have tried to open.
func (f *fleet) attempts() (n int64) {
	for _, node := range f.nodes {
		n += node.proxy.attempts.Load()
	}
	return n
}

// each calls a function with the proxy of each node.
func (f *fleet) each(do func(*proxy)) {
	for _, n := range f.nodes {
		do(n.proxy)
	}
}
