package cache

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeSource only tells sources apart.
type fakeSource struct{ Source }

var errExpected = errors.New("expected")

// loads is a load that needs neither its context nor its flight.
func loads(load func() Result) loading {
	return func(context.Context, *flight) Result { return load() }
}

// blocked returns a load that waits for the returned function to be called.
func blocked(result Result) (load loading, finish func()) {
	done := make(chan struct{})
	return loads(func() Result { <-done; return result }), sync.OnceFunc(func() { close(done) })
}

func noLoad(t *testing.T) loading {
	return loads(func() Result {
		t.Error("a second load began")
		return Result{}
	})
}

// board is do without waiting.
func board(t *testing.T, f *flights, key string, source Source, load loading) (*flight, bool) {
	t.Helper()
	fl, joined := f.board(t.Context(), key, source, time.Time{}, load, false)
	require.NotNil(t, fl)
	return fl, joined
}

func (f *flights) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.loads)
}

func TestFlightsOfOneKeyAreJoined(t *testing.T) {
	t.Parallel()
	var f flights
	defer f.close()
	source := &fakeSource{}
	load, finish := blocked(Result{Outcome: OutcomeMiss})
	defer finish()
	first, joined := board(t, &f, "a", source, load)
	require.False(t, joined)
	for range 10 {
		fl, joined := board(t, &f, "a", source, noLoad(t))
		require.True(t, joined)
		require.Same(t, first, fl)
	}
	for _, test := range []struct {
		key    string
		source Source
	}{{"b", source}, {"a", &fakeSource{Source: source}}, {"a", nil}} {
		r, joined := f.do(t.Context(), test.key, test.source, time.Time{}, loads(func() Result { return Result{Outcome: OutcomeHit} }))
		require.False(t, joined, "another key or source is another flight")
		require.Equal(t, OutcomeHit, r.Outcome)
	}
	finish()
	<-first.done
	require.Equal(t, OutcomeMiss, first.result.Outcome)
	require.Zero(t, f.count(), "flights that have landed are off the board")
}

func TestAForgottenFlightIsNotJoined(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*flights){
		"the key":  func(f *flights) { f.forget("other", "a") },
		"all keys": func(f *flights) { f.forgetAll() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f flights
			defer f.close()
			load, finish := blocked(Result{Outcome: OutcomeMiss})
			defer finish()
			nextLoad, finishNext := blocked(Result{Outcome: OutcomeHit})
			defer finishNext()

			first, _ := board(t, &f, "a", nil, load)
			forget(&f)
			next, joined := board(t, &f, "a", nil, nextLoad)
			require.False(t, joined)
			finish()
			<-first.done
			_, joined = board(t, &f, "a", nil, noLoad(t))
			require.True(t, joined, "the landing of the first one left the next one on the board")
			finishNext()
			<-next.done
			require.Zero(t, f.count())
		})
	}
}

func TestAFlightEndsWithItsLastCaller(t *testing.T) {
	t.Parallel()
	var f flights
	t.Cleanup(f.close)
	began, ended := make(chan struct{}), make(chan struct{})
	load := func(ctx context.Context, _ *flight) Result {
		close(began)
		<-ctx.Done()
		close(ended)
		return Result{Outcome: OutcomeMiss}
	}
	callers := make([]func(), 3)
	results := make(chan Result)
	for i := range callers {
		ctx, leave := context.WithCancel(t.Context())
		callers[i] = leave
		go func() {
			r, _ := f.do(ctx, "a", nil, time.Time{}, load)
			results <- r
		}()
	}
	<-began
	require.Eventually(t, func() bool { return f.waiters("a") == len(callers) }, 10*time.Second, time.Millisecond)
	for i, leave := range callers {
		select {
		case <-ended:
			require.Fail(t, "the load ended before its last caller left")
		default:
		}
		leave()
		r := <-results
		require.Equal(t, OutcomeError, r.Outcome)
		require.ErrorIs(t, r.Err, context.Canceled)
		require.Equal(t, len(callers)-1-i, f.waiters("a"))
	}
	// a load that is being ended is not joined
	r, joined := f.do(t.Context(), "a", nil, time.Time{}, loads(func() Result { return Result{Outcome: OutcomeHit} }))
	require.False(t, joined)
	require.Equal(t, OutcomeHit, r.Outcome)
	<-ended
}

// waiters is how many wait for the flight of a key.
func (f *flights) waiters(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fl := range f.loads[key] {
		return fl.waiters
	}
	return 0
}

func TestAnEarlyAnswerIsForTheRequestsThatBeganTheLoad(t *testing.T) {
	t.Parallel()
	var f flights
	t.Cleanup(f.close)
	finish := make(chan struct{})
	load := func(_ context.Context, fl *flight) Result {
		defer fl.answerAfter(time.Millisecond, Result{Outcome: OutcomeMiss})()
		<-finish
		return Result{Outcome: OutcomeMiss, Stored: true}
	}
	fl, _ := board(t, &f, "a", nil, load) // so that nothing ends it
	early := make(chan Result)
	joined := make(chan Result)
	go func() {
		r, _ := f.do(t.Context(), "b", nil, time.Time{}, load)
		early <- r
	}()
	go func() {
		r, _ := f.do(t.Context(), "a", nil, time.Time{}, noLoad(t))
		joined <- r
	}()
	require.Equal(t, Result{Outcome: OutcomeMiss}, <-early)
	<-fl.answered
	leaving, leave := context.WithCancel(t.Context())
	leave()
	r, _ := f.do(leaving, "a", nil, time.Time{}, noLoad(t))
	require.Equal(t, Result{Outcome: OutcomeMiss}, r, "better than an error")
	close(finish)
	require.Equal(t, Result{Outcome: OutcomeMiss, Stored: true}, <-joined)
}

func TestAFlightWithoutWaitersEnds(t *testing.T) {
	t.Parallel()
	var f flights
	began, end := make(chan context.Context), make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	f.start(ctx, "a", nil, func(ctx context.Context, _ *flight) Result {
		began <- ctx
		<-end
		return Result{}
	})
	leave()
	require.NoError(t, (<-began).Err())
	close(end)
	f.close()
}

func TestALoadThatBreaksIsAnError(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func() Result{
		"panics":             func() Result { panic(errExpected) },
		"ends its goroutine": func() Result { runtime.Goexit(); return Result{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f flights
			r, _ := f.do(t.Context(), "a", nil, time.Time{}, loads(load))
			require.Equal(t, OutcomeError, r.Outcome)
			require.Error(t, r.Err)
			r, joined := f.do(t.Context(), "a", nil, time.Time{}, loads(func() Result { return Result{Outcome: OutcomeHit} }))
			require.False(t, joined)
			require.Equal(t, OutcomeHit, r.Outcome)
			f.close()
		})
	}
}

func TestClosingWaitsForFlightsAndRefusesNewOnes(t *testing.T) {
	t.Parallel()
	var f flights
	load, finish := blocked(Result{})
	f.start(t.Context(), "a", nil, load)
	closed := make(chan struct{})
	go func() {
		f.close()
		close(closed)
	}()
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.closed
	}, 10*time.Second, time.Millisecond)
	select {
	case <-closed:
		require.Fail(t, "closed before the load had ended")
	default:
	}
	r, _ := f.do(t.Context(), "b", nil, time.Time{}, noLoad(t))
	require.ErrorIs(t, r.Err, ErrClosed)
	f.start(t.Context(), "b", nil, noLoad(t))
	finish()
	<-closed
}

// There may always be another flight without a load, as where many lookups find a
// record at once.
func TestACallerThatJoinedNoLoadDoesNotWaitForAnotherFlightWithoutOne(t *testing.T) {
	t.Parallel()
	var f flights
	defer f.close()
	source := &fakeSource{}
	first := f.lead("a", source)
	got := make(chan Result)
	go func() {
		r, _ := f.do(t.Context(), "a", source, time.Time{}, loads(func() Result { return Result{Outcome: OutcomeMiss} }))
		got <- r
	}()
	require.Eventually(t, func() bool { return f.waiters("a") == 2 }, 10*time.Second, time.Millisecond)
	f.forget("a")
	second := f.lead("a", source)
	require.NotNil(t, second)
	f.drop("a", first)
	require.Equal(t, Result{Outcome: OutcomeMiss}, <-got)
	f.drop("a", second)
	require.Zero(t, f.count())
}
