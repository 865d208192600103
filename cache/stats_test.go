package cache

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCountsAddUp(t *testing.T) {
	t.Parallel()
	s := NewStats()
	require.Equal(t, []string{FileMeta, Session, UploadProgress}, FamilyNames())
	for _, name := range FamilyNames() {
		require.Zero(t, s.Snapshot().Families[name])
	}
	files, sessions := s.route("files", FileMeta), s.route("sessions", Session)
	for _, r := range []Result{
		{Outcome: OutcomeHit, Hit: true},
		{Outcome: OutcomeAbsent, Hit: true},
		{Outcome: OutcomeStale, Hit: true},
		{Outcome: OutcomeMiss},
	} {
		files.addFast(&r)
	}
	for _, r := range []Result{
		{Outcome: OutcomeDenied, Hit: true},
		{Outcome: OutcomeDenied},
		{Outcome: OutcomeError},
		{Outcome: OutcomeAbsent},
	} {
		sessions.add(t.Context(), &r, time.Millisecond)
	}
	snap := s.Snapshot()
	require.Equal(t, Counts{TotalRequests: 4, Hits: 3, Misses: 1, Absent: 1, Stale: 1, HitRate: 75}, snap.Families[FileMeta])
	require.Equal(t, Counts{TotalRequests: 4, Hits: 1, Misses: 3, Absent: 1, Denied: 2, Errors: 1, HitRate: 25}, snap.Families[Session])
	require.Equal(t, Counts{TotalRequests: 8, Hits: 4, Misses: 4, Absent: 2, Denied: 2, Stale: 1, Errors: 1, HitRate: 50}, snap.All)
	route := snap.Routes["sessions"]
	require.Equal(t, Session, route.Family)
	require.Equal(t, snap.Families[Session], route.Counts)
	require.Equal(t, ResultCounts{ResultDenied: 1, ResultMissDenied: 1, ResultError: 1, ResultMissAbsent: 1}, route.Results)
	require.Equal(t, ResultCounts{ResultHit: 1, ResultAbsent: 1, ResultStale: 1, ResultMiss: 1}, snap.Routes["files"].Results)

	durations := snap.Durations[Session]
	require.EqualValues(t, 4, durations.Count())
	require.Equal(t, 4*time.Millisecond, durations.Sum)
	durations = snap.Durations[FileMeta]
	require.EqualValues(t, 4, durations.Buckets[0], "lookups that are answered from memory are in the lowest bucket")
	require.Zero(t, durations.Sum)
}

func TestFamiliesRememberRoutesThatAreGone(t *testing.T) {
	t.Parallel()
	s := NewStats()
	s.route("a", FileMeta).addFast(&Result{Outcome: OutcomeHit, Hit: true})
	s.route("b", FileMeta).addFast(&Result{Outcome: OutcomeMiss})
	require.Same(t, s.route("a", FileMeta), s.route("a", FileMeta), "routes of one name share counters")

	s.RetainRoutes(map[string]bool{"b": true})
	snap := s.Snapshot()
	require.NotContains(t, snap.Routes, "a")
	require.Contains(t, snap.Routes, "b")
	require.Equal(t, Counts{TotalRequests: 2, Hits: 1, Misses: 1, HitRate: 50}, snap.Families[FileMeta])

	s.route("b", Session).addFast(&Result{Outcome: OutcomeMiss}) // the name goes to another family
	snap = s.Snapshot()
	require.Equal(t, "session", snap.Routes["b"].Family)
	require.EqualValues(t, 1, snap.Routes["b"].Misses)
	require.EqualValues(t, 2, snap.Families[FileMeta].TotalRequests)
	require.EqualValues(t, 3, snap.All.TotalRequests)
}
