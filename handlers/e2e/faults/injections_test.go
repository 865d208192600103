// How faults of Redis are made.

package faults

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func itoa(n int) string { return strconv.Itoa(n) }

// do runs a command on Redis.
func (f *fleet) do(command ...any) {
	f.t.Helper()
	require.NoError(f.t, f.truth.Do(f.t.Context(), command...).Err(), "%v", command)
}

// repeat does something every so often until stop is called.
func (f *fleet) repeat(every time.Duration, do func(n int)) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for n := 0; ; n++ {
			do(n)
			select {
			case <-done:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// foreignWrites writes keys of others under the prefix, that many a second.
func (f *fleet) foreignWrites(perSecond int) (stop func()) {
	n := 0
	return f.repeat(10*time.Millisecond, func(int) {
		pipe := f.truth.Pipeline()
		for range perSecond / 100 {
			pipe.Set(f.t.Context(), fmt.Sprintf("session:user:%d", n%1000), "{}", time.Minute)
			n++
		}
		_, _ = pipe.Exec(f.t.Context())
	})
}

// meanwhile runs a command that takes long; the returned function waits for it.
func (f *fleet) meanwhile(command ...any) (wait func()) {
	options := *f.redis.Client().Options()
	options.ReadTimeout = time.Minute
	client := redis.NewClient(&options)
	var running sync.WaitGroup
	running.Go(func() { _ = client.Do(context.Background(), command...).Err() })
	return func() {
		running.Wait()
		_ = client.Close()
	}
}

// pauseOne stops a node, as a busy host stops a virtual machine, and lets it go
// on when requests for sessions that were revoked meanwhile wait for it. Its
// network is back that much later: packets have to be sent again.
func pauseOne(f *fleet, network time.Duration) (resume func()) {
	n := f.nodes[0]
	revokedBefore := len(f.oracle.allRevoked())
	n.proxy.held.Store(true)
	n.pause()
	return func() {
		defer time.AfterFunc(network, func() { n.proxy.held.Store(false) })
		var written sync.WaitGroup
		for _, id := range f.oracle.allRevoked()[revokedBefore:] {
			written.Add(1)
			f.probes.Go(func() { f.tryWritten(0, id, false, sync.OnceFunc(written.Done)) })
		}
		written.Wait()
		n.resume()
	}
}

// runScript runs a script without an end, and returns what kills it.
func (f *fleet) runScript() (kill func()) {
	wait := f.meanwhile("EVAL", "while true do end", "0")
	return func() {
		require.Eventually(f.t, func() bool {
			return f.truth.ScriptKill(f.t.Context()).Err() == nil
		}, 5*time.Second, time.Millisecond)
		wait()
	}
}

// breakSaves makes Redis fail to save and therefore refuse writes, until mend
// is called.
func (f *fleet) breakSaves() (mend func()) {
	ctx := f.t.Context()
	dir := f.truth.(*redis.Client).ConfigGet(ctx, "dir").Val()["dir"]
	require.NotEmpty(f.t, dir)
	// no file can take the place of a directory
	inTheWay := filepath.Join(dir, "dump.rdb")
	require.NoError(f.t, os.MkdirAll(filepath.Join(inTheWay, "full"), 0o700))
	f.do("CONFIG", "SET", "save", "3600 1")
	require.Eventually(f.t, func() bool {
		_ = f.truth.BgSave(ctx).Err()
		return strings.HasPrefix(fmt.Sprint(f.truth.Set(ctx, "probe", "", time.Second).Err()), "MISCONF")
	}, 10*time.Second, 10*time.Millisecond)
	return func() {
		require.NoError(f.t, os.RemoveAll(inTheWay))
		f.do("CONFIG", "SET", "save", "")
		require.NoError(f.t, f.truth.Set(ctx, "probe", "", time.Second).Err())
	}
}

// mustBeNear fails the test where nodes do not answer from near copies soon.
func (f *fleet) mustBeNear(within time.Duration) {
	f.t.Helper()
	if missing := f.awaitNear(within); missing != "" {
		f.t.Errorf("no near copies within %v: %s", within, missing)
	}
}

// nearAgain says that near copies are back while the fault lasts.
func nearAgain(f *fleet) { f.mustBeNear(2*time.Second + f.oracle.machineNoise()) }

// allGone notes that no session is left.
func (f *fleet) allGone(at time.Time) {
	for _, id := range f.oracle.allLive() {
		f.oracle.gone(id, at)
	}
}

// grantMore makes sessions where Redis takes them.
func (f *fleet) grantMore(n int) {
	for range n {
		f.tryGrant()
	}
}

// replaceAll runs a command after which no session is left, and makes new ones.
func (f *fleet) replaceAll(command ...any) func() {
	before := f.oracle.allLive()
	for _, id := range before {
		f.oracle.unclear(id)
	}
	f.do(command...)
	now := time.Now()
	for _, id := range before {
		f.oracle.gone(id, now)
	}
	return func() { f.grantMore(liveSessions) }
}

// followAnother makes Redis the replica of a server without these sessions.
func followAnother(f *fleet) func() {
	other := redistest.Start(f.t, "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(other.Addr())
	require.NoError(f.t, err)
	before := f.oracle.allLive()
	for _, id := range before {
		f.oracle.unclear(id)
	}
	f.do("REPLICAOF", host, port)
	require.Eventually(f.t, func() bool {
		return strings.Contains(f.truth.(*redis.Client).Info(f.t.Context(), "replication").Val(), "master_link_status:up")
	}, 10*time.Second, time.Millisecond)
	now := time.Now()
	for _, id := range before {
		f.oracle.gone(id, now)
	}
	f.truth = other.Client()
	f.grantMore(liveSessions)
	return func() {
		f.truth = f.redis.Client()
		f.do("REPLICAOF", "NO", "ONE")
	}
}

// leadToTheWeb has the address of Redis lead to a web server.
func leadToTheWeb(f *fleet) func() {
	web := httptest.NewServer(http.NotFoundHandler())
	lead := func(to string) {
		f.each(func(p *proxy) {
			p.lead(to)
			p.cut(nil)
		})
	}
	lead(web.Listener.Addr().String())
	return func() {
		lead(f.redis.Addr())
		web.Close()
	}
}

// leadElsewhere has the address of Redis lead to another server with the same
// sessions, as a change of DNS does: the nodes' trackers still talk to the old
// one.
func leadElsewhere(f *fleet) func() {
	other := redistest.Start(f.t)
	for _, id := range f.oracle.allLive() {
		require.NoError(f.t, other.Client().Set(f.t.Context(), key(id), `{"user": "u"}`, time.Hour).Err())
	}
	f.truth = other.Client()
	f.each(func(p *proxy) {
		p.lead(other.Addr())
		p.cut(isData)
	})
	return func() {}
}
