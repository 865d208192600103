package sitetest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestReloadKeepsRecordsConnectionsAndCounters(t *testing.T) {
	server := redistest.Start(t)
	for name, option := range map[string]string{
		"memory": "filewallball",
		"redis":  "filewallball {\nredis " + server.Addr() + "\n}",
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, option, "session_lookup {header.X-Token}\nrespond before")
			require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:abc", `{}`).Status)
			require.Equal(t, "before", s.Get(t, "/", "X-Token", "abc").Body)
			before := connections(t, server)

			s.Load(t, option, "session_lookup {header.X-Token}\nrespond after")
			require.Equal(t, "after", s.Get(t, "/", "X-Token", "abc").Body)
			require.Equal(t, 2, s.Stats(t).Hits)
			require.Subset(t, connections(t, server), before, "connections were closed")
		})
	}
}

// connections are the ids of those that a Redis has.
func connections(t *testing.T, server *redistest.Server) (ids []string) {
	t.Helper()
	list, err := server.Client().ClientList(t.Context()).Result()
	require.NoError(t, err)
	for _, id := range regexp.MustCompile(`(?m)^id=(\d+)`).FindAllStringSubmatch(list, -1) {
		ids = append(ids, id[1])
	}
	return ids
}

func TestRequestsSurviveReloadsAndAChangeOfStore(t *testing.T) {
	server := redistest.Start(t)
	option := func(poolSize int) string {
		return fmt.Sprintf("filewallball {\nredis %s {\npool_size %d\n}\nnear_cache off\n}", server.Addr(), poolSize)
	}
	routes := "session_lookup {header.X-Token}\nrespond hi"
	s := sitetest.Serve(t, option(1), routes)
	require.NoError(t, server.Client().Set(t.Context(), "session:user:abc", "{}", time.Hour).Err())
	stop := make(chan struct{})
	var group sync.WaitGroup
	var answered atomic.Int64
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, err := http.NewRequest(http.MethodGet, "http://"+s.Page+"/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Token", "abc")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					continue // the connection ended with the old server
				}
				_ = resp.Body.Close()
				answered.Add(1)
				if resp.StatusCode != http.StatusOK {
					t.Errorf("status %d during a reload", resp.StatusCode)
					return
				}
			}
		})
	}
	for i := range 8 {
		s.Load(t, option(2+i), routes)
	}
	close(stop)
	group.Wait()
	require.Positive(t, answered.Load())
}

func TestCountersOutliveAChangeOfStore(t *testing.T) {
	s := sitetest.Serve(t, "filewallball {\nmemory {\nmax_size 1MB\n}\n}", "session_lookup {header.X-Token} {\nname door\n}\nrespond hi")
	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "abc").Status)
	s.Load(t, "filewallball {\nredis "+redistest.Start(t).Addr()+"\n}", "respond hi")
	require.Equal(t, 1, s.Stats(t).Families["session"].Misses)
	require.NotContains(t, s.Stats(t).Routes, "door")
}

func TestFailedReloadLeavesTheRunningConfigurationAlone(t *testing.T) {
	s := sitetest.Serve(t, "filewallball", "session_lookup {header.X-Token}\nrespond hi")
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:abc", `{}`).Status)
	bad, err := sitetest.Adapt(s.Config("filewallball {\nkey_prefix {env.NO_SUCH_{x}}\n}", "session_lookup {header.X-Token} {\nkey nothing\n}\nrespond hi"))
	require.NoError(t, err)
	for range 3 {
		require.Error(t, caddy.Load(bad, true))
		require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "abc").Status)
	}
}
