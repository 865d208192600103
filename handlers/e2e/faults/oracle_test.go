package faults

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// oracle records when each session was revoked, and the response to each request.
type oracle struct {
	mu       sync.Mutex
	sessions map[string]*session
	live     []string    // that must be let in
	revoked  []string    // that must not, in order
	asked    []time.Time // when requests for live sessions were sent
	failures []failure   // of live sessions
	noise    []time.Duration
}

// session is what the oracle has recorded of one session.
type session struct {
	revoked time.Time // zero: never
	letIn   []entry
}

// entry is a request that was let in.
type entry struct {
	sent time.Time
	node int
	near bool
}

// failure is a request of a live session that was not let in.
type failure struct {
	session string
	sent    time.Time
	node    int
	status  int
}

func newOracle() *oracle { return &oracle{sessions: make(map[string]*session)} }

// granted records that a session exists from now on.
func (o *oracle) granted(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sessions[id] = new(session)
	o.live = append(o.live, id)
}

// unclear removes a session from the live ones: it may or may not be revoked, and
// gone or back says later which.
func (o *oracle) unclear(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.live = slices.DeleteFunc(o.live, func(other string) bool { return other == id })
}

// gone records the time at which a session was revoked.
func (o *oracle) gone(id string, at time.Time) {
	o.unclear(id)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sessions[id].revoked = at
	o.revoked = append(o.revoked, id)
}

// back records that a session exists again. From now on it is not judged.
func (o *oracle) back(id string) {
	o.unclear(id)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.revoked = slices.DeleteFunc(o.revoked, func(other string) bool { return other == id })
	o.sessions[id] = new(session)
}

// allLive are the sessions that must be let in.
func (o *oracle) allLive() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.live)
}

// allRevoked are the sessions that must not be let in.
func (o *oracle) allRevoked() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.revoked)
}

// pick is the i-th session of a list, from its end.
func pick(ids []string, i int) string {
	if len(ids) == 0 {
		return ""
	}
	return ids[len(ids)-1-i%len(ids)]
}

// saw records the response to a request with a session.
func (o *oracle) saw(id string, node int, sent time.Time, got answer, wasLive bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.sessions[id]
	if wasLive {
		o.asked = append(o.asked, sent)
	}
	if got.status == 200 {
		s.letIn = append(s.letIn, entry{sent, node, got.near})
	} else if wasLive && s.revoked.IsZero() && slices.Contains(o.live, id) {
		o.failures = append(o.failures, failure{id, sent, node, got.status})
	}
}

// control records the duration of a request that needs no lookup.
func (o *oracle) control(took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noise = append(o.noise, took)
}

// machineNoise is the 99.9th percentile of the durations of requests that need no
// lookup: the delay that the machine itself adds.
func (o *oracle) machineNoise() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return quantile(o.noise, 0.999)
}

// quantile returns a quantile of some durations.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// ages returns, for each session that was let in after its revocation, the longest
// time between the revocation and such a request.
func (o *oracle) ages() (ages []time.Duration, worst entry, of string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	most := time.Duration(-1)
	for id, s := range o.sessions {
		if s.revoked.IsZero() {
			continue
		}
		age := time.Duration(0)
		for _, e := range s.letIn {
			if late := e.sent.Sub(s.revoked); late > age {
				age = late
				if late > most {
					most, worst, of = late, e, id
				}
			}
		}
		ages = append(ages, age)
	}
	return ages, worst, of
}

// late counts the requests that were let in more than a bound after the revocation.
func (o *oracle) late(bound time.Duration) (late, letIn int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.sessions {
		if s.revoked.IsZero() {
			continue
		}
		for _, e := range s.letIn {
			if age := e.sent.Sub(s.revoked); age > bound {
				late++
				letIn++
			} else if age > 0 {
				letIn++
			}
		}
	}
	return late, letIn
}

// requests counts the requests for live sessions between two times.
func (o *oracle) requests(from, to time.Time) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, sent := range o.asked {
		if !sent.Before(from) && !sent.After(to) {
			n++
		}
	}
	return n
}

// failedOutside counts the failures that were sent before one time or after
// another.
func (o *oracle) failedOutside(from, to time.Time) (n int, first failure) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.failures {
		if f.sent.Before(from) || f.sent.After(to) {
			if n == 0 {
				first = f
			}
			n++
		}
	}
	return n, first
}

func TestOracleFindsWhatWasLetInTooLate(t *testing.T) {
	t.Parallel()
	o := newOracle()
	start := time.Now()
	in, out := answer{status: 200}, answer{status: 401}
	for _, id := range []string{"a", "b", "c"} {
		o.granted(id)
		o.saw(id, 0, start, in, true)
	}
	o.gone("a", start.Add(time.Second))
	o.gone("b", start.Add(time.Second))
	o.saw("a", 0, start.Add(1500*time.Millisecond), in, false)
	o.saw("b", 1, start.Add(3*time.Second), in, false)
	o.saw("b", 1, start.Add(4*time.Second), out, false)
	o.saw("c", 2, start.Add(5*time.Second), out, true)

	late, letIn := o.late(time.Second)
	require.Equal(t, 1, late)
	require.Equal(t, 2, letIn)
	ages, worst, of := o.ages()
	require.ElementsMatch(t, []time.Duration{500 * time.Millisecond, 2 * time.Second}, ages)
	require.Equal(t, 1, worst.node)
	require.Equal(t, "b", of)

	n, first := o.failedOutside(start, start.Add(4*time.Second))
	require.Equal(t, 1, n)
	require.Equal(t, 2, first.node)
	n, _ = o.failedOutside(start, start.Add(6*time.Second))
	require.Zero(t, n)
	require.Equal(t, []string{"c"}, o.allLive())
}
