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

// blocked returns a load that waits for the returned function to be called.
func blocked(result Result) (load func() Result, finish func()) {
	done := make(chan struct{})
	return func() Result { <-done; return result }, sync.OnceFunc(func() { close(done) })
}

func noLoad(t *testing.T) func() Result {
	return func() Result {
		t.Error("a second load began")
		return Result{}
	}
}

// board is do without waiting.
func board(t *testing.T, f *flights, key string, source Source, load func() Result) (*flight, bool) {
	t.Helper()
	fl, joined := f.board(key, source, load)
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
		r, joined := f.do(t.Context(), test.key, test.source, func() Result { return Result{Outcome: OutcomeHit} })
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

func TestALeavingCallerDoesNotEndTheFlight(t *testing.T) {
	t.Parallel()
	var f flights
	t.Cleanup(f.close)
	load, finish := blocked(Result{Outcome: OutcomeMiss})
	defer finish()
	ctx, leave := context.WithCancel(t.Context())
	leave()
	r, joined := f.do(ctx, "a", nil, load)
	require.False(t, joined)
	require.ErrorIs(t, r.Err, context.Canceled)
	require.Equal(t, OutcomeError, r.Outcome)

	fl, joined := board(t, &f, "a", nil, noLoad(t))
	require.True(t, joined)
	finish()
	<-fl.done
	require.Equal(t, OutcomeMiss, fl.result.Outcome)
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
			r, _ := f.do(t.Context(), "a", nil, load)
			require.Equal(t, OutcomeError, r.Outcome)
			require.Error(t, r.Err)
			r, joined := f.do(t.Context(), "a", nil, func() Result { return Result{Outcome: OutcomeHit} })
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
	f.start("a", nil, load)
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
	r, _ := f.do(t.Context(), "b", nil, noLoad(t))
	require.ErrorIs(t, r.Err, ErrClosed)
	f.start("b", nil, noLoad(t))
	finish()
	<-closed
}
