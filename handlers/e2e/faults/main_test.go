// Package faults tests the promises of the plugin under faults: three real
// Caddys share a real Redis, each over a network of its own that can be broken.
//
//	faults_test.go        the table of faults, and what is promised during each
//	injections_test.go    how each fault is caused
//	row_test.go           how a row of the table is run and judged
//	oracle_test.go        which requests were let in, and until when they may be
//	traffic_test.go       requests that are sent all the time
//	fleet_test.go         Redis, the nodes, and the application
//	node_test.go          a Caddy in a process of its own
//	proxy_test.go         the network between a node and Redis
//	invalidation_test.go  purges and logouts under faults
//	loads_test.go         clients that leave, and a slow application
//	flood_test.go         more clients than a node can serve
//	topology_test.go      Sentinel and cluster
//	clock_linux_test.go   a Redis whose clock jumps
//	persist_test.go       the file of the embedded store, over crashes
//
// `make test` runs the short ones, `make soak` all of them, for longer.
package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// caddyPath is the program that the nodes run.
var caddyPath string

// soak reports whether all scenarios are run, and for longer.
var soak = os.Getenv("FILEWALLBALL_SOAK") != ""

// scenario is a test of this package. A long one is run by make soak alone.
type scenario struct {
	name string
	long bool
	run  func(*testing.T)
}

func runAll(t *testing.T, scenarios []scenario) {
	for _, s := range scenarios {
		if !s.long || soak {
			t.Run(s.name, s.run)
		}
	}
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "faults")
	if err == nil {
		caddyPath = filepath.Join(dir, "caddy")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", caddyPath, "./caddy").CombinedOutput(); err != nil {
			err = fmt.Errorf("building Caddy: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, redistest.IgnoreLateDials(), goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}
