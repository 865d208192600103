package faults

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// row is a fault, and what is promised during and after it.
type row struct {
	name  string
	long  bool // see scenario
	setup setup
	// start makes the fleet; nil: newFleet with setup.
	start func(t *testing.T) *fleet
	// inject causes the fault, and returns a function that ends it.
	inject func(f *fleet) (mend func())
	// lasts is how long the fault lasts. Sessions are revoked all the time.
	lasts time.Duration
	// stale is the longest time after its revocation that a session may be let
	// in. 10 ms are asserted of 99 in a hundred revocations, and then leaseBound
	// of all; longer times of all.
	stale time.Duration
	// recovery is the longest time after the fault until every node answers
	// from near copies again.
	recovery time.Duration
	// calm is set if the fault must not fail any request of a live session.
	calm bool
	// failing is the largest share of requests of live sessions that may fail
	// while the fault lasts; 0: any.
	failing float64
	// attempts is how many connections a node may ask for in a second of the
	// fault; 0: any.
	attempts float64
	// loses is set if Redis itself may lose the last writes. Revocations that it has
	// lost are not judged.
	loses bool
	// during runs during the fault, before it ends.
	during func(f *fleet)
}

// revokeEvery is the time between two revocations.
const revokeEvery = 80 * time.Millisecond

// run starts a fleet, causes the fault and ends it, and checks the promises.
func (r row) run(t *testing.T) {
	var f *fleet
	if r.start != nil {
		f = r.start(t)
	} else {
		f = newFleet(t, r.setup)
	}
	if missing := f.notNear(); missing != "" {
		t.Fatalf("before the fault: %s", missing)
	}
	stop := f.traffic()
	defer stop()
	healthy := time.Now()
	f.revokeFor(500 * time.Millisecond)
	attempts, began := f.connections(), time.Now()
	mend := r.inject(f)
	lasts := r.lasts
	if soak {
		lasts *= 4
	}
	f.revokeFor(lasts)
	if r.during != nil {
		r.during(f)
	}
	asked, lasted := f.connections()-attempts, time.Since(began)
	mend()
	mended := time.Now()
	missing := f.awaitNear(r.recovery + 30*time.Second)
	recovered := time.Now()
	f.revokeFor(500 * time.Millisecond)
	stop()

	if r.loses {
		f.forgetLost()
	}
	noise := f.oracle.machineNoise()
	ages, worst, of := f.oracle.ages()
	report := fmt.Sprintf("noise %v; %d revocations, the last to be let in %v after its own (p99 %v); recovery %v; %d failures; %d connections in %v",
		noise.Round(time.Microsecond), len(ages), quantile(ages, 1).Round(time.Microsecond), quantile(ages, 0.99).Round(time.Microsecond),
		recovered.Sub(mended).Round(time.Millisecond), len(f.oracle.failures), asked, lasted.Round(time.Millisecond))
	t.Log(report)
	if len(ages) < 5 {
		t.Errorf("only %d sessions could be revoked: the run says nothing", len(ages))
	}
	if missing != "" {
		t.Errorf("no recovery: %s", missing)
	} else if took := recovered.Sub(mended); took > r.recovery+noise {
		t.Errorf("recovery took %v, promised are %v (noise %v)", took, r.recovery, noise)
	}
	r.checkStale(t, f, ages, noise, worst, of)
	if noise < tooNoisy {
		r.checkFailures(t, f, healthy, began, recovered)
	}
	f.checkRefusals()
	if perSecond := float64(asked) / float64(len(f.nodes)) / lasted.Seconds(); r.attempts > 0 && perSecond > r.attempts {
		t.Errorf("a node asked for %.1f connections a second, promised are %.1f", perSecond, r.attempts)
	}
}

// healthBound is the largest age of a near copy without faults.
const healthBound = 10 * time.Millisecond

// leaseBound is the largest age of a near copy: the lease of the trust in it.
const leaseBound = time.Second

func (r row) checkStale(t *testing.T, f *fleet, ages []time.Duration, noise time.Duration, worst entry, of string) {
	t.Helper()
	bound, hard := r.stale+noise, r.stale+noise
	excused := 0
	if r.stale <= healthBound {
		// one in a hundred may be later; with fewer, a single one is no failure
		excused, hard = max(1, len(ages)/100), leaseBound+noise
	}
	over := 0
	for _, age := range ages {
		if age > bound {
			over++
		}
	}
	if age := quantile(ages, 1); over > excused || age > hard {
		late, letIn := f.oracle.late(bound)
		t.Errorf("%d of %d sessions were let in later than %v after their revocation (noise %v), %d of %d requests; the last one: session %s %v after, at node %d, near %t",
			over, len(ages), bound, noise, late, letIn, of, age, worst.node, worst.near)
	}
}

// checkFailures finds failed requests that the fault does not explain.
func (r row) checkFailures(t *testing.T, f *fleet, healthy, began, recovered time.Time) {
	t.Helper()
	if r.calm {
		recovered = began
	}
	// a request may be under way when the fault begins
	if n, first := f.oracle.failedOutside(began.Add(-time.Second), recovered); n > 0 {
		t.Errorf("%d requests of live sessions failed that should not: the first at node %d with status %d, %v after the fault began",
			n, first.node, first.status, first.sent.Sub(began))
	}
	if n, _ := f.oracle.failedOutside(healthy, recovered); r.failing > 0 && !r.calm {
		all := f.oracle.requests(began, recovered)
		failed := len(f.oracle.failures) - n
		if share := float64(failed) / float64(max(1, all)); share > r.failing {
			t.Errorf("%d of %d requests failed, %.0f %%; promised are %.0f %%", failed, all, 100*share, 100*r.failing)
		}
	}
}

// checkRefusals finds live sessions that were answered as unknown, which no fault
// may cause.
func (f *fleet) checkRefusals() {
	f.t.Helper()
	for _, failed := range f.oracle.failures {
		if failed.status != http.StatusUnauthorized {
			continue
		}
		n, err := f.truth.Exists(context.Background(), key(failed.session)).Result()
		if err != nil || n > 0 {
			f.t.Errorf("node %d answered 401 for session %s, which exists (%v)", failed.node, failed.session, err)
			return
		}
	}
}

// connections are the attempts so far, of nodes with a proxy.
func (f *fleet) connections() int64 {
	if f.nodes[0].proxy == nil {
		return 0
	}
	return f.attempts()
}

// revokeFor revokes one session after the other, creates as many new ones, and
// watches each revoked one until it is refused.
func (f *fleet) revokeFor(d time.Duration) {
	ticker := time.NewTicker(revokeEvery)
	defer ticker.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-ticker.C {
		live := f.oracle.allLive()
		if len(live) < liveSessions/2 {
			f.tryGrant()
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		id := live[0]
		if err := f.revoke(ctx, id); err == nil {
			f.untilRefused(id)
			f.tryGrant()
		}
		cancel()
	}
}

// forgetLost removes the revocations of sessions that exist again because a
// failover lost the deletion.
func (f *fleet) forgetLost() {
	for _, id := range f.oracle.allRevoked() {
		n, err := f.truth.Exists(context.Background(), key(id)).Result()
		if err != nil {
			f.t.Errorf("looking for session %s: %v", id, err)
		}
		if n > 0 {
			f.oracle.back(id)
		}
	}
}

// tryGrant creates a session if Redis accepts the write.
func (f *fleet) tryGrant() {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	id := fmt.Sprintf("s%d", f.last.Add(1))
	if f.truth.Set(ctx, key(id), `{"user": "u"}`, time.Hour).Err() == nil {
		f.oracle.granted(id)
	}
}
