package lookup

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestCacheStatus(t *testing.T) {
	t.Parallel()
	l := &Lookup{policy: &Policy{CacheStatus: true}, kind: Kind{Directive: "x"}}
	for name, c := range map[string]struct {
		result cache.Result
		want   string
	}{
		"hit":                {cache.Result{Outcome: cache.OutcomeHit, Hit: true, From: "redis", TTL: 3590900 * time.Millisecond}, "x; hit; ttl=3590; detail=redis"},
		"hit, lives forever": {cache.Result{Outcome: cache.OutcomeHit, Hit: true, From: "redis", TTL: cache.NoExpiry}, "x; hit; detail=redis"},
		"known absence":      {cache.Result{Outcome: cache.OutcomeAbsent, Hit: true, From: "memory", TTL: time.Second}, "x; hit; ttl=1; detail=absent"},
		"known refusal":      {cache.Result{Outcome: cache.OutcomeDenied, Hit: true, From: "memory", TTL: time.Second}, "x; hit; ttl=1; detail=denied"},
		"stored":             {cache.Result{Outcome: cache.OutcomeMiss, Stored: true, TTL: time.Second}, "x; fwd=miss; stored"},
		"not stored":         {cache.Result{Outcome: cache.OutcomeMiss}, "x; fwd=miss"},
		"absence, stored":    {cache.Result{Outcome: cache.OutcomeAbsent, Stored: true}, "x; fwd=miss; stored; detail=absent"},
		"error":              {cache.Result{Outcome: cache.OutcomeError, Err: cache.ErrUnavailable}, "x; fwd=bypass; detail=error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"Cache-Status": {"earlier"}}
			l.addCacheStatus(h, new(statusLines), &c.result)
			require.Equal(t, []string{"earlier", c.want}, h["Cache-Status"])
		})
	}
}

func TestCacheStatusLinesOfResponsesShareNoMemory(t *testing.T) {
	t.Parallel()
	var s statusLines
	one, other := http.Header{}, http.Header{}
	s.add(one, "a")
	kept := append(one["Cache-Status"], "mine")
	s.add(one, "b")
	s.add(one, "c")
	s.add(one, "d")
	s.add(other, "e")
	require.Equal(t, []string{"a", "b", "c", "d"}, one["Cache-Status"])
	require.Equal(t, []string{"e"}, other["Cache-Status"])
	require.Equal(t, []string{"a", "mine"}, kept)
}
