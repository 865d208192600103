package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measures how fast the store is for the running Caddy",
		Long: `Writes and reads records of its own and prints how long that took. The running
Caddy measures: the store through the connection pool that lookups use, without
near copies and without the cost of the admin API. Live traffic shares that pool,
so both slow each other down.`,
		Example: "  $ caddy filewallball bench --count 10000 --concurrency 16",
		Args:    wants(cobra.NoArgs, "no arguments"),
	}
	asJSON := jsonFlag(cmd)
	flags := cmd.Flags()
	var b wire.BenchRequest
	flags.IntVar(&b.Count, "count", 1000, "The number of records that are written and read, 1 to 100000")
	flags.IntVar(&b.Size, "size", 256, "The size of each record in bytes, 8 or more")
	flags.IntVar(&b.Batch, "batch", 100, "How many records are in a batch, 1 to 1000")
	flags.IntVar(&b.Concurrency, "concurrency", 1, "Measure this number of calls at the same time as well, 1 to 64")
	for _, flag := range []string{"count", "size", "batch", "concurrency"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	cmd.RunE = running(func(c *call, _ []string) error {
		if err := b.Check(wire.MaxBenchBytes); err != nil {
			return usageError{fmt.Errorf("--%w", err)}
		}
		return c.bench(b, *asJSON)
	})
	return cmd
}

func (c *call) bench(b wire.BenchRequest, asJSON bool) error {
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	answer, err := c.askLong(c.ctx, http.MethodPost, "bench", body)
	if err != nil {
		return err
	}
	var result wire.BenchReport
	if err := json.Unmarshal(answer, &result); err != nil {
		return fmt.Errorf("reading the measurements: %w", err)
	}
	if asJSON {
		err = c.writeJSON(answer)
	} else {
		err = c.writeBenchReport(&result)
	}
	if err == nil && benchErrors(&result) > 0 {
		err = errors.New(many(benchErrors(&result), "operation") + " failed")
	}
	return err
}

func benchErrors(b *wire.BenchReport) (n int) {
	for _, s := range []*wire.BenchRun{b.Sequential, b.Concurrent} {
		if s != nil {
			n += s.Set.Errors + s.Get.Errors + s.SetMany.Errors + s.GetMany.Errors
		}
	}
	return n
}

func (c *call) writeBenchReport(b *wire.BenchReport) error {
	fmt.Fprintf(c.out, "%s: %s of %s\n\n", printable(b.Store), many(b.Count, "record"), size(b.Size))
	t := newTable(c.out)
	t.row("AT ONCE", "OPERATION", "CALLS", "RECORDS/S", "P50", "P95", "P99", "ERRORS")
	t.benchRun("1", b.Batch, b.Sequential)
	t.benchRun(count(b.Concurrency), b.Batch, b.Concurrent)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(c.out, `
Times are of a call, measured inside the running Caddy: the store through the
pool that lookups use, without near copies and without the admin API's own cost.
`)
	return err
}

func (t table) benchRun(atOnce string, batch int, s *wire.BenchRun) {
	if s == nil {
		return
	}
	for _, o := range []struct {
		name string
		wire.BenchOperation
	}{
		{"set", s.Set}, {"get", s.Get},
		{"set " + count(batch), s.SetMany}, {"get " + count(batch), s.GetMany},
	} {
		t.row(atOnce, o.name, count(o.Operations), count(int64(o.PerSecond)),
			milliseconds(o.Latency.P50), milliseconds(o.Latency.P95), milliseconds(o.Latency.P99), count(o.Errors))
	}
}
