package admin

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestBenchMeasuresTheRunningStoreAndLeavesNothing(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		app.Put(t, "file:meta:1", "{}")
		for body, want := range map[string]wire.BenchRequest{
			"": {Count: 1000, Size: 256, Batch: 100, Concurrency: 1},
			`{"count": 250, "size": 8, "batch": 100, "concurrency": 4}`: {Count: 250, Size: 8, Batch: 100, Concurrency: 4},
		} {
			a := c.do(t, http.MethodPost, "bench", body)
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			var got wire.BenchReport
			require.NoError(t, json.Unmarshal([]byte(a.Body), &got))
			require.Equal(t, want, got.BenchRequest)
			require.Equal(t, app.Cache().Store().Name(), got.Store)
			runs := []*wire.BenchRun{got.Sequential}
			if want.Concurrency > 1 {
				runs = append(runs, got.Concurrent)
			} else {
				require.Nil(t, got.Concurrent)
			}
			for _, run := range runs {
				for _, op := range []wire.BenchOperation{run.Set, run.Get, run.SetMany, run.GetMany} {
					require.Equal(t, want.Count, op.Records)
					require.Zero(t, op.Errors, "all that is written is read")
					require.Positive(t, op.PerSecond)
					require.Positive(t, op.Latency.P50)
					require.LessOrEqual(t, op.Latency.P50, op.Latency.P95)
					require.LessOrEqual(t, op.Latency.P95, op.Latency.P99)
				}
				require.Equal(t, want.Count, run.Set.Operations)
				require.Equal(t, want.Count, run.Get.Operations)
				require.Equal(t, (want.Count+99)/100, run.SetMany.Operations)
				require.Equal(t, (want.Count+99)/100, run.GetMany.Operations)
			}
		}
		require.Equal(t, []string{"file:meta:1"}, listAll(t, c, "", "1000"))
		require.Zero(t, app.Cache().Stats().Snapshot().All.TotalRequests)
		n, err := app.Cache().DeletePrefix(t.Context(), "fwb:bench:")
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestBenchHasBounds(t *testing.T) {
	app := newMemoryApp(t)
	app.Policy().MaxValueSize = 1 << 20
	c := startAdmin(t, app)
	for body, message := range map[string]string{
		`{"count": 0}`:          "count is not right: want 1 to 100000",
		`{"count": 100001}`:     "count is not right",
		`{"size": 7}`:           "size is not right: want 8 to 1048576",
		`{"size": 1048577}`:     "size is not right",
		`{"batch": 0}`:          "batch is not right: want 1 to 1000",
		`{"batch": 1001}`:       "batch is not right",
		`{"concurrency": 0}`:    "concurrency is not right: want 1 to 64",
		`{"concurrency": 1000}`: "concurrency is not right",
		`{"count": 100000, "size": 1000000, "batch": 1}`: "count times size is too much",
		`{"count": 100, "size": 1000000, "batch": 100}`:  "batch times size is too much",
		`{"n": 1}`: "body is not a JSON object with the right fields",
		`[1]`:      "body is not a JSON object",
	} {
		a := c.do(t, http.MethodPost, "bench", body)
		require.Equal(t, http.StatusBadRequest, a.Status, body)
		require.Contains(t, a.message(t), message, body)
	}
}

func TestBenchCountsWhatFails(t *testing.T) {
	t.Parallel()
	app := newMemoryApp(t)
	b := newBenchmark(wire.BenchRequest{Count: 10, Size: 8, Batch: 5, Concurrency: 1}, app)
	require.NoError(t, app.Cache().Close())
	run := b.run(t.Context(), 2)
	require.Equal(t, []int{10, 10, 2, 2}, []int{run.Set.Errors, run.Get.Errors, run.SetMany.Errors, run.GetMany.Errors})
}
