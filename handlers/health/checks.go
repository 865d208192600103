// Package health has the checks of the health endpoint, in the format of
// draft-inadarei-api-health-check, and a monitor that makes them at an interval.
package health

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	// Timeout bounds the calls of the checks to the store, so that a dead store is
	// reported soon.
	Timeout = time.Second
	// minLookups is the fewest lookups for a check of their hit rate: a cache begins
	// empty.
	minLookups = 100
	// minTrips is the fewest round trips for a check of their quantiles: one that opens
	// a connection is slow.
	minTrips = 100
	// nearGrace is how long near copies may be without trust before health warns:
	// after the loss of a connection, it takes a moment to restore it.
	nearGrace = 5 * time.Second
	// maxRoots is the most directories of files with a check of their own. Those whose
	// files cannot be read come first.
	maxRoots = 100
	// sourceErrorShare is the share of failed requests to a source from which on health
	// warns.
	sourceErrorShare = 0.1
)

// errSilent is the error of a store that did not answer the checks.
var errSilent = errors.New("no answer within " + Timeout.String())

// report is a health to which checks are added.
type report struct{ wire.Health }

// Of pings the store and compares figures with the thresholds of alert: the hit
// rate of the last five minutes, once there were 100 lookups in them, and the
// share of failed requests of each source. If the store is a server, it also
// compares the 95th percentile of the round trips of the last one to two minutes,
// once there were 100, the memory in use (of maxmemory or, without one, of the
// machine's memory), and the number of clients. A full embedded store is normal
// and no warning.
//
// lookups are those of the configuration: the directories that their sources read files
// from are checked too. It may be nil.
func Of(ctx context.Context, c *cache.Cache, alert lookup.Alert, lookups *lookup.Lookups) wire.Health {
	h := report{wire.Health{Status: wire.HealthPass, Checks: make(map[string][]wire.HealthCheck)}}
	if lookups == nil {
		h.checkStore(ctx, c, alert)
		return h.Health
	}
	roots := lookups.CheckRoots() // at the same time
	h.checkStore(ctx, c, alert)
	h.checkRoots(roots())
	return h.Health
}

// checkStore makes the checks of the store, of the sources and of the counts.
func (h *report) checkStore(ctx context.Context, c *cache.Cache, alert lookup.Alert) {
	store := c.Store()
	started := time.Now()
	err := store.Ping(ctx)
	ping := wire.HealthCheck{Value: wire.Milliseconds(time.Since(started)), Unit: "ms", Status: wire.HealthPass}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errSilent
	}
	if err != nil {
		ping.Status, ping.Output = wire.HealthFail, NoAnswer(store, err)
	}
	h.add(store.Name()+":ping", ping)
	h.checkPending(c)
	h.checkFile(store)
	window := c.Stats().Snapshot().Window
	h.checkSources(window)
	if err != nil {
		return
	}
	counts := window.Counts
	h.compare("lookups:hit_rate", counts.HitRate, "percent",
		counts.TotalRequests >= minLookups && counts.HitRate < alert.HitRateBelow,
		"hit rate is %.1f%%, below %g%%%s", counts.HitRate, alert.HitRateBelow, failedOf(counts))
	if store.Pool() != nil { // it is a server
		h.checkServer(ctx, c, alert)
	}
}

// failedOf names the lookups that failed: they are misses, but no cache could have
// answered them.
func failedOf(counts cache.Counts) string {
	if counts.Errors == 0 {
		return ""
	}
	return fmt.Sprintf(": %d of %d lookups failed", counts.Errors, counts.TotalRequests)
}

// checkRoots warns of directories whose files cannot be read. It never fails: the other
// files and all sessions work, and a directory may be made later.
func (h *report) checkRoots(checks []lookup.RootCheck) {
	for _, check := range checks[:min(len(checks), maxRoots)] {
		h.compare("root:"+check.Name, nil, "", check.Err != nil, "the root %s %v", check.Name, check.Err)
	}
}

// NoAnswer is the output of health for a store that does not answer, with the time since
// when, and the reason.
func NoAnswer(store cache.Store, err error) string {
	since := ""
	if server, ok := store.(interface{ DownSince() (time.Time, bool) }); ok {
		if at, down := server.DownSince(); down {
			since = " since " + at.UTC().Format(time.RFC3339)
		}
	}
	return "the store does not answer" + since + ": " + reason(err)
}

// reason is the text of an error of the store without [cache.ErrUnavailable].
func reason(err error) string {
	if _, text, ok := strings.Cut(err.Error(), cache.ErrUnavailable.Error()+": "); ok {
		return text
	}
	return err.Error()
}

// checkPending warns of invalidations that the store has not carried out.
func (h *report) checkPending(c *cache.Cache) {
	pending := c.Pending()
	check := wire.HealthCheck{Value: pending.Total(), Unit: "invalidations", Status: wire.HealthPass}
	switch {
	case pending.All:
		check.Status = wire.HealthWarn
		check.Output = "too many invalidations are pending: this node uses no record until all records of the lookups are dropped"
	case pending.Total() > 0:
		check.Status = wire.HealthWarn
		check.Output = fmt.Sprintf("%d invalidations are pending since %s: this node does not use their records and retries, other nodes may use them",
			pending.Total(), pending.Since.UTC().Format(time.RFC3339))
	}
	h.add("invalidations:pending", check)
}

// checkFile warns while the embedded store cannot save its records.
func (h *report) checkFile(store cache.Store) {
	saver, ok := store.(interface{ FileStatus() memory.FileStatus })
	if !ok {
		return
	}
	status := saver.FileStatus()
	if status.File == "" {
		return
	}
	check := wire.HealthCheck{Value: status.Records, Unit: "records", Status: wire.HealthPass}
	if status.Err != nil {
		check.Status, check.Output = wire.HealthWarn, "records cannot be saved to the file of persist: "+status.Err.Error()
	}
	h.add(store.Name()+":file", check)
}

// checkSources warns of each source that failed for a tenth of the requests to
// it or more.
func (h *report) checkSources(window cache.Window) {
	for _, name := range slices.Sorted(maps.Keys(window.Sources)) {
		source := window.Sources[name]
		h.compare("source:"+name, source.Errors, "errors",
			source.Errors > 0 && float64(source.Errors) >= sourceErrorShare*float64(source.Requests),
			"source %s failed for %d of %d requests, the last time at %s: %s",
			name, source.Errors, source.Requests, source.LastErrorAt.UTC().Format(time.RFC3339), source.LastError)
	}
}

// checkRefused warns while reads or writes fail, most often because the server is
// full or its user lacks rights.
func (h *report) checkRefused(name string, errors cache.StoreErrorCounts) {
	for op, count := range map[cache.StoreOp]uint64{cache.StoreRead: errors.Reads, cache.StoreWrite: errors.Writes} {
		state, kind := errors.States[op], op.String()+"s"
		format := "the server at %s refuses %s, the last time at %s: %s"
		if state.Refused == cache.RefusedNothing {
			format = "the server at %s does not answer %s, the last time at %s: %s"
		}
		h.compare(name+":refused_"+kind, count, kind, state.Failing,
			format, state.Address, kind, state.At.UTC().Format(time.RFC3339), state.Text)
	}
}

// checkNear warns where near copies have not been trusted for a while.
func (h *report) checkNear(copies near.Stats, doubt cache.NearDoubt, doubted bool) {
	if copies.MaxBytes == 0 {
		return // there are none
	}
	reason := ""
	if doubt.Reason != "" {
		reason = ": " + doubt.Reason
	}
	h.compare("near:coherent", copies.Entries, "records", doubted && time.Since(doubt.Since) > nearGrace,
		"near copies are not coherent since %s: the server at %s does not report writes%s",
		doubt.Since.UTC().Format(time.RFC3339), doubt.Address, reason)
}

func (h *report) checkServer(ctx context.Context, c *cache.Cache, alert lookup.Alert) {
	name := c.Store().Name()
	h.checkRefused(name, c.Stats().StoreErrors.Counts())
	p95 := c.Stats().StoreLatency.Quantiles(0.95)[0]
	h.compare(name+":latency_p95", wire.Milliseconds(p95), "ms",
		p95 > alert.LatencyAbove && c.Stats().StoreLatency.Recent() >= minTrips,
		"95%% of the round trips take up to %s, above %s", p95, alert.LatencyAbove)

	doubt, doubted := c.NearDoubt()
	h.checkNear(c.Near(), doubt, doubted)

	info, err := c.Store().Info(ctx)
	if err != nil {
		h.add(name+":info", wire.HealthCheck{Status: wire.HealthWarn, Output: "memory and clients of the store cannot be read: " + reason(err)})
		return
	}
	h.compare(name+":memory_used", info.MemoryUsedPercent, "percent", info.MemoryUsedPercent > alert.MemoryAbove,
		"memory in use is %.1f%%, above %g%%", info.MemoryUsedPercent, alert.MemoryAbove)
	h.compare(name+":connected_clients", info.ConnectedClients, "clients", info.ConnectedClients > alert.ClientsAbove,
		"%d clients are connected, above %d", info.ConnectedClients, alert.ClientsAbove)
}

// compare adds a check, which is a warning if beyond is true. format and args are its
// output then.
func (h *report) compare(name string, value any, unit string, beyond bool, format string, args ...any) {
	check := wire.HealthCheck{Value: value, Unit: unit, Status: wire.HealthPass}
	if beyond {
		check.Status, check.Output = wire.HealthWarn, fmt.Sprintf(format, args...)
	}
	h.add(name, check)
}

func (h *report) add(name string, check wire.HealthCheck) {
	if check.Status == wire.HealthPass {
		h.Checks[name] = []wire.HealthCheck{check}
		return
	}
	if page := Runbook(name); page != "" {
		check.Links = map[string]string{"runbook": page}
	}
	h.Checks[name] = []wire.HealthCheck{check}
	if h.Status != wire.HealthFail { // the worst status stays
		h.Status = check.Status
	}
	if h.Output != "" {
		h.Output += "; "
	}
	h.Output += check.Output
}
