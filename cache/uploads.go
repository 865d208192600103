package cache

import "sync/atomic"

// UploadCounters counts uploads whose progress is published. The zero value is
// ready to use.
type UploadCounters struct {
	started, completed, failed atomic.Uint64
	listeners                  atomic.Int64
}

// UploadCounts are the counts of uploads so far. Active uploads are neither
// completed nor failed.
type UploadCounts struct {
	Active    uint64 `json:"active"`
	Started   uint64 `json:"started"`
	Completed uint64 `json:"completed"`
	Failed    uint64 `json:"failed"`
	// Listeners are the clients that listen now.
	Listeners int64 `json:"listeners"`
}

// Begin counts the begin of an upload. End must follow.
func (c *UploadCounters) Begin() { c.started.Add(1) }

// End counts the end of an upload.
func (c *UploadCounters) End(completed bool) {
	if completed {
		c.completed.Add(1)
	} else {
		c.failed.Add(1)
	}
}

// Listen counts a client that listens until stop is called.
func (c *UploadCounters) Listen() (stop func()) {
	c.listeners.Add(1)
	return func() { c.listeners.Add(-1) }
}

// Counts reads the counters.
func (c *UploadCounters) Counts() UploadCounts {
	// the ends first, so that they are never more than the beginnings
	n := UploadCounts{Completed: c.completed.Load(), Failed: c.failed.Load(), Listeners: c.listeners.Load()}
	n.Started = c.started.Load()
	n.Active = n.Started - n.Completed - n.Failed
	return n
}
