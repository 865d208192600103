package cache

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/clocktest"
)

// counted counts lookups at a time, as Find does.
func counted(s *Stats, now time.Time, lookups int, r Result) {
	route := s.route("lookup", Session)
	for range lookups {
		s.tick(now)
		route.addFast(&r)
	}
}

func TestTheWindowHasTheLastFiveMinutes(t *testing.T) {
	t.Parallel()
	miss, hit := Result{Outcome: OutcomeMiss}, Result{Outcome: OutcomeHit, Hit: true}
	type lookups struct {
		at     time.Duration // since the start
		n      int
		result Result
	}
	for name, test := range map[string]struct {
		counted []lookups
		read    time.Duration
		want    Counts
	}{
		"before the first lookup":   {nil, 0, Counts{}},
		"long before the first":     {nil, time.Hour, Counts{}},
		"since the start":           {[]lookups{{time.Second, 3, hit}}, 2 * time.Second, Counts{TotalRequests: 3, Hits: 3, HitRate: 100}},
		"all that is recent enough": {[]lookups{{0, 3, hit}, {time.Minute, 1, miss}}, 4 * time.Minute, Counts{TotalRequests: 4, Hits: 3, Misses: 1, HitRate: 75}},
		"what is older counts not":  {[]lookups{{0, 3, hit}, {3 * time.Minute, 1, miss}}, 6 * time.Minute, Counts{TotalRequests: 1, Misses: 1}},
		"a burst and a long rest":   {[]lookups{{time.Second, 100, hit}}, time.Hour, Counts{}},
		"a burst after a long rest": {[]lookups{{0, 9, hit}, {time.Hour, 1, miss}}, time.Hour + time.Second, Counts{TotalRequests: 1, Misses: 1}},
		"a burst, a rest, a burst":  {[]lookups{{0, 9, hit}, {time.Hour, 1, miss}}, time.Hour + 6*time.Minute, Counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewStats()
			start := time.Now()
			s.recent.begin(start)
			all := 0
			for _, l := range test.counted {
				counted(s, start.Add(l.at), l.n, l.result)
				all += l.n
			}
			snap := s.snapshot(start.Add(test.read))
			require.Equal(t, test.want, snap.Window.Counts)
			require.EqualValues(t, all, snap.All.TotalRequests)
			require.Equal(t, test.want, s.snapshot(start.Add(test.read)).Window.Counts, "reading changes nothing")
		})
	}
}

func TestAWindowHasItsLength(t *testing.T) {
	t.Parallel()
	s := NewStats()
	start := time.Now()
	s.recent.begin(start)
	for second := range 3600 {
		now := start.Add(time.Duration(second) * time.Second)
		counted(s, now, 1, Result{Outcome: OutcomeMiss})
		if second > 320 && second%7 == 0 {
			n := int(s.snapshot(now).Window.Misses)
			require.GreaterOrEqual(t, n, 300)
			require.LessOrEqual(t, n, 311)
		}
	}
	require.Less(t, len(s.recent.samples), 40, "samples are dropped again")
}

func TestTheWindowHasTheErrorsOfSources(t *testing.T) {
	t.Parallel()
	s := NewStats()
	start := time.Now()
	s.recent.begin(start)
	source := s.source("http")
	ask := func(now time.Time, err error) {
		s.tick(now)
		if err != nil {
			source.failed(err)
		} else {
			source.answered(AbsentRecord())
		}
	}
	ask(start, errors.New("refused"))
	ask(start.Add(10*time.Minute), nil)
	window := s.snapshot(start.Add(11 * time.Minute)).Window
	require.EqualValues(t, 1, window.Sources["http"].Requests)
	require.Zero(t, window.Sources["http"].Errors)
	ask(start.Add(12*time.Minute), errors.New("timed out"))
	snap := s.snapshot(start.Add(12 * time.Minute))
	require.EqualValues(t, 1, snap.Window.Sources["http"].Errors)
	require.EqualValues(t, 2, snap.Sources["http"].Errors)
	require.Equal(t, "timed out", snap.Sources["http"].LastError)
	require.WithinDuration(t, time.Now(), snap.Sources["http"].LastErrorAt, time.Minute)
}

func TestTheWindowIsReadBesideLookups(t *testing.T) {
	t.Parallel()
	s := NewStats()
	start := time.Now()
	s.recent.begin(start)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			route := s.route(fmt.Sprint("lookup", worker), Session)
			for i := range 2000 {
				now := start.Add(time.Duration(i) * time.Second)
				s.tick(now)
				route.addFast(&Result{Outcome: OutcomeMiss})
				if i%50 == 0 {
					_ = s.snapshot(now)
				}
			}
		})
	}
	group.Wait()
	require.Zero(t, s.snapshot(start.Add(time.Hour)).Window.TotalRequests)
	require.EqualValues(t, 16000, s.Snapshot().All.TotalRequests)
}

// The window has the last five minutes that passed, not those of the wall clock.
func TestTheWindowContinuesIfTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	s := NewStats()
	start := time.Now()
	s.recent.begin(start)
	counted(s, start.Add(time.Second), 9, Result{Outcome: OutcomeMiss})
	for after := time.Minute; after < 20*time.Minute; after += time.Minute {
		counted(s, clocktest.SetBack(t, start, time.Hour).Add(after), 1, Result{Outcome: OutcomeHit, Hit: true})
	}
	window := s.snapshot(clocktest.SetBack(t, start, time.Hour).Add(20 * time.Minute)).Window
	require.Zero(t, window.Misses)
	require.InDelta(t, 5, window.Hits, 1)
	require.Less(t, len(s.recent.samples), 40)
}
