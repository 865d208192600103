package metrics

import "github.com/prometheus/client_golang/prometheus"

var rootsFailing = desc("source_roots_failing", "Directories of source file_system to which requests lead, and whose files could not be read at the last check.")

// Roots reads the number of directories whose files cannot be read. The checks of health
// find them: a file system that hangs does not hold a scrape up.
type Roots struct{ failing func() (n int64, ok bool) }

// NewRoots returns a collector over a number. ok is false if no lookup reads files.
func NewRoots(failing func() (n int64, ok bool)) *Roots { return &Roots{failing} }

// Describe implements [prometheus.Collector].
func (*Roots) Describe(ch chan<- *prometheus.Desc) { ch <- rootsFailing }

// Collect implements [prometheus.Collector].
func (c *Roots) Collect(ch chan<- prometheus.Metric) {
	if n, ok := c.failing(); ok {
		sink{ch}.gauge(rootsFailing, float64(n))
	}
}
