package command

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// minWatch is the shortest pause of --watch: statistics take the server a round trip.
const minWatch = 100 * time.Millisecond

func statsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Shows hits, misses, latencies, the near copies and the connection pool",
		Example: "  $ caddy filewallball stats --watch 1s",
		Args:    wants(cobra.NoArgs, "no arguments"),
	}
	asJSON := jsonFlag(cmd)
	watch := cmd.Flags().Duration("watch", 0, "Show them repeatedly, with this pause")
	cmd.RunE = running(func(c *call, _ []string) error {
		if !cmd.Flags().Changed("watch") {
			return c.showStats(*asJSON)
		}
		if *watch < minWatch {
			return usageError{fmt.Errorf("--watch is %s: want a duration of at least %s, like 1s", *watch, minWatch)}
		}
		return c.watchStats(*watch, *asJSON)
	})
	return cmd
}

// watchStats shows the statistics until it is interrupted, which is not an error.
func (c *call) watchStats(every time.Duration, asJSON bool) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var before *taken
	for {
		if !asJSON && isTerminal(c.out) {
			fmt.Fprint(c.out, "\x1b[H\x1b[2J") // from the top of an empty screen
		}
		var err error
		if asJSON {
			err = c.showStats(true)
		} else {
			before, err = c.showRates(before)
		}
		if err != nil {
			if c.ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return nil
		}
	}
}

func (c *call) showStats(asJSON bool) error {
	answer, err := c.ask(c.ctx, http.MethodGet, "stats", nil)
	if err != nil {
		return err
	}
	if asJSON {
		return c.writeJSON(answer)
	}
	var stats wire.Stats
	if err := json.Unmarshal(answer, &stats); err != nil {
		return fmt.Errorf("reading the statistics: %w", err)
	}
	return writeStats(c.out, &stats)
}

// taken is the statistics with the time at which they were read.
type taken struct {
	wire.Stats
	at time.Time
}

// showRates shows the statistics under a line with the time and the rates since the
// previous statistics.
func (c *call) showRates(before *taken) (*taken, error) {
	answer, err := c.ask(c.ctx, http.MethodGet, "stats", nil)
	if err != nil {
		return nil, err
	}
	now := &taken{at: time.Now()}
	if err := json.Unmarshal(answer, &now.Stats); err != nil {
		return nil, fmt.Errorf("reading the statistics: %w", err)
	}
	line := now.at.Format(time.TimeOnly)
	if before != nil {
		line += "  " + ratesSince(before, now)
	}
	fmt.Fprintln(c.out, line)
	return now, writeStats(c.out, &now.Stats)
}

// ratesSince are lookups, hits, errors and requests to sources per second. A counter
// that is lower than before was reset.
func ratesSince(before, now *taken) string {
	seconds := now.at.Sub(before.at).Seconds()
	rate := func(before, now uint64) string {
		if now < before {
			before = 0
		}
		return fmt.Sprintf("%.1f", float64(now-before)/seconds)
	}
	sum := func(s *taken) (errors, requests uint64) {
		for _, family := range s.Families {
			errors += family.Errors
		}
		for _, source := range s.Sources {
			requests += source.Requests
		}
		return errors, requests
	}
	errorsBefore, requestsBefore := sum(before)
	errorsNow, requestsNow := sum(now)
	return fmt.Sprintf("a second: %s lookups, %s hits, %s errors, %s requests to sources",
		rate(before.TotalRequests, now.TotalRequests), rate(before.Hits, now.Hits),
		rate(errorsBefore, errorsNow), rate(requestsBefore, requestsNow))
}

func writeStats(w io.Writer, s *wire.Stats) error {
	t := newTable(w)
	t.row("store", storeOf(s))
	t.row("lookups", fmt.Sprintf("%s: %s hits, %s misses, hit rate %s",
		count(s.TotalRequests), count(s.Hits), count(s.Misses), percent(s.HitRate)))
	t.row("near copies", nearOf(s))
	if p := s.Pool; p != nil {
		t.row("connections", fmt.Sprintf("%s of %s: %s in use, %s idle; %s waits, %s timeouts; breaker %s",
			count(p.Total), count(p.Size), count(p.InUse), count(p.Idle), count(p.Waits), count(p.Timeouts), p.Breaker))
	}
	t.storeErrors(&s.StoreErrors)
	t.gap()

	t.row("LATENCY", "P50", "P95", "P99")
	if s.Pool != nil {
		t.latency(s.Store, s.Latency.Redis)
	}
	t.latency("source", s.Latency.Source)
	t.gap()

	counts := []string{"LOOKUPS", "HITS", "MISSES", "HIT RATE", "ABSENT", "DENIED", "STALE", "ERRORS"}
	t.row(append([]string{"FAMILY"}, counts...)...)
	for _, name := range slices.Sorted(maps.Keys(s.Families)) {
		t.row(append([]string{name}, countsOf(s.Families[name])...)...)
	}
	if len(s.Routes) > 0 {
		t.gap()
		t.row(append([]string{"ROUTE", "FAMILY"}, counts...)...)
	}
	for _, name := range slices.SortedFunc(maps.Keys(s.Routes), lookup.CompareNames) {
		route := s.Routes[name]
		t.row(append([]string{name, route.Family}, countsOf(route.Counts)...)...)
	}
	if len(s.Sources) > 0 {
		t.gap()
		t.row("SOURCE", "REQUESTS", "ERRORS", "COALESCED")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		source := s.Sources[name]
		t.row(name, count(source.Requests), count(source.Errors), count(source.Coalesced))
	}
	return t.Flush()
}

// storeErrors adds a row with the failed operations of the store, if there are any.
func (t table) storeErrors(e *wire.StoreErrors) {
	if e.LastAt == nil {
		return
	}
	t.row("store errors", fmt.Sprintf("%s, %s; the last at %s: %s at %s (%s): %s", many(e.Reads, "read"), many(e.Writes, "write"),
		e.LastAt.UTC().Format(time.RFC3339), e.LastOp, e.LastAddress, e.LastReason, e.Last))
}

func (t table) latency(of string, q wire.Quantiles) {
	t.row(of, milliseconds(q.P50), milliseconds(q.P95), milliseconds(q.P99))
}

func storeOf(s *wire.Stats) string {
	switch {
	case s.Redis != nil:
		return fmt.Sprintf("%s %s, %s, %s in use (%s), %s", s.Store, s.Redis.Version, s.Redis.Mode,
			size(s.Redis.UsedMemory), percent(s.Redis.MemoryUsedPercent), many(s.Redis.ConnectedClients, "client"))
	case s.Pool != nil:
		return s.Store + ", unreachable"
	}
	return s.Store
}

func nearOf(s *wire.Stats) string {
	n := s.Near
	if n.MaxBytes == 0 {
		return "none"
	}
	state := "coherent"
	if !n.Coherent {
		state = "not coherent"
	}
	return fmt.Sprintf("%s: %s, %s of %s; %s hits, %s evictions, %s invalidations", state, many(n.Entries, "record"),
		size(n.Bytes), size(n.MaxBytes), count(n.Hits), count(n.Evictions), count(n.Invalidations))
}

func countsOf(n cache.Counts) []string {
	return []string{
		count(n.TotalRequests), count(n.Hits), count(n.Misses), percent(n.HitRate),
		count(n.Absent), count(n.Denied), count(n.Stale), count(n.Errors),
	}
}
