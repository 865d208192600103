// How often a tracker reads. Redis sends a report of its own after nearly each
// write, and a node that reads each of them at once pays for two system calls and
// a wake-up: nine tenths of what 20 000 writes a second cost it. Where reports are
// that frequent, the tracker rests before it reads again, so that one read returns
// many.

package redis

import "time"

const (
	// pacePeriod is how often it is decided whether reports are frequent, which is
	// more than paceReports in a period: 2 000 a second.
	pacePeriod  = 10 * time.Millisecond
	paceReports = 20
	// paceRest is the rest before a read, which delays the reports of this time. The
	// system's clock may round it up to one millisecond.
	paceRest = 500 * time.Microsecond
)

// pace decides whether a tracker rests.
type pace struct {
	since    time.Time // when the current period began
	reports  int       // the number of reports that had been read then
	frequent bool      // whether reports were frequent in the last period
}

// rest returns how long to rest before the next read, given the number of reports
// that were read up to now.
func (p *pace) rest(now time.Time, reports int) time.Duration {
	if passed := min(now.Sub(p.since), time.Second); passed >= pacePeriod {
		p.frequent = time.Duration(reports-p.reports)*pacePeriod > paceReports*passed
		p.since, p.reports = now, reports
	}
	if p.frequent {
		return paceRest
	}
	return 0
}
