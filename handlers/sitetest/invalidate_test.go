package sitetest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// The logout does not depend on session_lookup: where that fails, nothing has
// logged the user out, so nothing is pending either.
func TestPendingLogoutOutlivesAReloadThatReplacesTheStore(t *testing.T) {
	server := redistest.Start(t)
	option := func(poolSize int) string {
		return fmt.Sprintf("filewallball {\nredis %s {\npool_size %d\n}\nlookup_timeout 100ms\n}", server.Addr(), poolSize)
	}
	const routes = `route {
		lookup_invalidate /logout session:user:{header.X-Token}
		respond /logout bye
		session_lookup {header.X-Token}
		respond ok
	}`
	s := sitetest.Serve(t, option(4), routes)
	require.NoError(t, server.Client().Set(t.Context(), "session:user:abc", "{}", time.Hour).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(s.Get(t, "/", "X-Token", "abc").Header.Get("Cache-Status"), "detail=near")
	}, 10*time.Second, time.Millisecond)

	server.Pause()
	require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/logout", "X-Token", "abc").Status)
	asking := askAlways(t, "http://"+s.Page+"/", "abc")
	s.Load(t, option(5), routes)
	require.Zero(t, asking.answers(http.StatusUnauthorized), "Redis is paused")
	server.Continue()
	require.Eventually(t, func() bool { return asking.answers(http.StatusUnauthorized) > 100 }, 20*time.Second, time.Millisecond)
	require.Zero(t, asking.answers(http.StatusOK), "the session is let in after its logout")
}

// asker counts the answers to requests by status.
type asker [600]atomic.Int64

func (a *asker) answers(status int) int64 { return a[status].Load() }

// askAlways sends requests with a token one after the other, over several
// connections that are kept alive, until the test ends.
func askAlways(t *testing.T, url, token string) *asker {
	t.Helper()
	const clients = 4
	a := new(asker)
	ctx, cancel := context.WithCancel(t.Context())
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
		transport.CloseIdleConnections()
	})
	for range clients {
		running.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
				if err != nil {
					return
				}
				req.Header.Set("X-Token", token)
				resp, err := transport.RoundTrip(req)
				if err != nil {
					continue // the connection was that of a configuration which has ended
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				a[resp.StatusCode].Add(1)
			}
		})
	}
	return a
}
