package redis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// A tag is dropped just after a load began, and the server takes its time
// before it files what was loaded: it was dropped after the load began,
// however long ago that is by then.
func TestADropIsHeardOfHoweverLongFilingTakes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	began := time.Now()
	_, err := s.DeleteTag(t.Context(), "user:1")
	require.NoError(t, err)
	server.Pause()
	filed := make(chan bool)
	go func() {
		ok, err := s.Tag(t.Context(), "key", []string{"user:1"}, ttl, began)
		filed <- ok || err != nil
	}()
	require.Eventually(t, func() bool { return time.Since(began) > 200*time.Millisecond }, patience, 10*time.Millisecond)
	server.Continue()
	require.False(t, <-filed, "what was loaded may be filled")
}
