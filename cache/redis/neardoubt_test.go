package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// doubts waits until the store says why near copies are not trusted.
func doubts(t *testing.T, s *Store, address string, words ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		doubt, ok := s.NearDoubt()
		for _, word := range words {
			ok = ok && strings.Contains(doubt.Reason, word)
		}
		return ok && doubt.Address == address && !doubt.Since.IsZero() && time.Since(doubt.Since) >= 0
	}, 20*time.Second, time.Millisecond)
}

func TestErrorHasTheReasonWhyWritesAreNotReported(t *testing.T) {
	t.Parallel()
	for missing, words := range map[string][]string{
		"-client|tracking": {"NOPERM", "client|tracking"},
		"-ping":            {"NOPERM", "ping"},
		"-set":             {"NOPERM", "set"},
		"-info":            {"INFO server has no run_id"},
	} {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "web", "on", ">secret", "~*", "+@all", missing).Err())
			o := at(server)
			o.Username, o.Password = "web", "secret"
			s, _ := watched(t, o, "k:")
			doubts(t, s, server.Addr(), words...)
		})
	}
}

// The connection of the tracker works, but no new one can be made.
func TestTrustThatRunsOutHasAReason(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, m := watched(t, at(server), "k:")
	m.becomes(t, near.Coherent)
	require.Eventually(t, func() bool { _, doubted := s.NearDoubt(); return !doubted }, 20*time.Second, time.Millisecond)
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxclients", "1").Err())
	doubts(t, s, server.Addr(), "max number of clients")
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxclients", "1000").Err())
	require.Eventually(t, func() bool { _, doubted := s.NearDoubt(); return !doubted }, 20*time.Second, time.Millisecond)
}

func TestAStoreThatWatchesNothingHasNoDoubts(t *testing.T) {
	t.Parallel()
	s := open(t, at(redistest.Start(t)))
	_, doubted := s.NearDoubt()
	require.False(t, doubted)
}
