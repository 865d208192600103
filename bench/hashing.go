// Files that nothing is known of yet, asked for while large ones are hashed.

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	hashedSmall, hashedSmallSize = 10_000, 2 << 10
	hashedLarge, hashedLargeSize = 20, 1 << 30
	// firstByteMost is the bar: the time to the first byte over that of
	// file_server.
	firstByteMost = 1.1
)

// The variants that are compared. Each turn has a server of its own, which has
// seen no file. Without Redis, records are in the server's memory.
var hashingVariants = []struct {
	name, source string
	redis        bool
}{
	{name: "file_server"},
	{"file_metadata without Redis", "", false},
	{"file_metadata with hash, without Redis", "hash sha256", false},
	{"file_metadata", "", true},
	{"file_metadata with hash", "hash sha256", true},
}

// hashing measures the time to the first byte of files that are not known yet.
func (b *bench) hashing(ctx context.Context, r *results) error {
	count := hashedSmall
	if b.smoke {
		count = 200
	}
	root := filepath.Join(b.dir, "hashed")
	large, small, err := writeHashed(root, count)
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	redis, err := b.startRedis(ctx)
	if err != nil {
		return err
	}
	defer redis.end()
	took := make([][]answers, len(hashingVariants))
	for round := range b.rounds {
		for i := range hashingVariants {
			i = (i + round) % len(hashingVariants)
			v := hashingVariants[i]
			name := fmt.Sprintf("hashing %d %d", round, i)
			options, metadata := "", ""
			if i > 0 {
				store := ""
				if v.redis {
					store = "\t\tredis " + redis.addr + "\n"
				}
				options = fmt.Sprintf("\tfilewallball {\n%s\t\tkey_prefix r%d-%d:\n\t}", store, round, i)
				metadata = "\tfile_metadata {\n\t\tsource file_system {\n\t\t\t" + v.source + "\n\t\t}\n\t}"
			}
			if err := b.startCaddy(ctx, name, options, []route{{name, lines("\troot "+root, metadata, "\tfile_server")}}); err != nil {
				return err
			}
			at := b.sites[name]
			err := error(nil)
			// the large ones first, of which only the beginning is asked for
			if _, err = firstBytes(ctx, at.addr, large, "Range: bytes=0-0\r\n", http.StatusPartialContent); err == nil {
				var latencies []time.Duration
				if latencies, err = firstBytes(ctx, at.addr, small, "", http.StatusOK); err == nil {
					a := answers{count: len(latencies)}
					a.p50, a.p99 = percentiles(latencies)
					took[i] = append(took[i], a)
				}
			}
			if err == nil && at.plugin {
				err = checkFirstLoads(ctx, at, len(large)+len(small))
			}
			at.process.end()
			delete(b.sites, name)
			if err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
		}
	}
	if b.smoke {
		return nil
	}
	for i, v := range hashingVariants[1:] {
		for _, part := range []struct {
			name string
			of   func(answers) time.Duration
		}{{"p50", func(a answers) time.Duration { return a.p50 }}, {"p99", func(a answers) time.Duration { return a.p99 }}} {
			ours, bare := milliseconds(took[i+1], part.of), milliseconds(took[0], part.of)
			ratio := spreadOf(ratios(ours, bare))
			r.findings = append(r.findings, finding{
				fmt.Sprintf("%s of the time to the first byte of %d files not seen yet, after %d of 1 GiB: %s / bare file_server",
					part.name, hashedSmall, hashedLarge, v.name),
				fmt.Sprintf("≤ %.1f", firstByteMost), ratio.median <= firstByteMost,
				fmt.Sprintf("%s: %.2f ms against %.2f ms", ratio, spreadOf(ours).median, spreadOf(bare).median),
			})
		}
	}
	return nil
}

func milliseconds(of []answers, part func(answers) time.Duration) []float64 {
	values := make([]float64, len(of))
	for i, a := range of {
		values[i] = float64(part(a).Microseconds()) / 1000
	}
	return values
}

// checkFirstLoads checks that no file's metadata was read more often than once
// before and once after its hash was known.
func checkFirstLoads(ctx context.Context, at site, files int) error {
	got, err := countFiles(ctx, at)
	if err == nil && got.loads > int64(2*files) {
		return violation{fmt.Sprintf("%d files cause %d records, more than two each", files, got.loads)}
	}
	return err
}

// writeHashed makes the files and returns their paths. The large ones have holes
// instead of content, which take no room.
func writeHashed(root string, count int) (large, small []string, err error) {
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, nil, fmt.Errorf("making files: %w", err)
	}
	hourAgo := time.Now().Add(-time.Hour)
	write := func(path string, size int64) error {
		name := filepath.Join(root, path)
		if err := os.WriteFile(name, []byte(path), 0o644); err != nil {
			return err
		}
		if err := os.Truncate(name, size); err != nil {
			return err
		}
		return os.Chtimes(name, hourAgo, hourAgo)
	}
	for i := range hashedLarge {
		path := fmt.Sprintf("/large%d.bin", i)
		if err := write(path, hashedLargeSize); err != nil {
			return nil, nil, fmt.Errorf("making files: %w", err)
		}
		large = append(large, path)
	}
	for i := range count {
		path := fmt.Sprintf("/small%d.bin", i)
		if err := write(path, hashedSmallSize); err != nil {
			return nil, nil, fmt.Errorf("making files: %w", err)
		}
		small = append(small, path)
	}
	return large, small, nil
}

// firstBytes asks once for each path, over as many connections as the other
// loads have, and returns the times to the first bytes.
func firstBytes(ctx context.Context, addr string, paths []string, header string, status int) ([]time.Duration, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	latencies := make([]time.Duration, len(paths))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(connections, len(paths)) {
		wait.Go(func() {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				fail(err)
				return
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			r := bufio.NewReaderSize(conn, 16<<10)
			for i := next.Add(1) - 1; int(i) < len(paths); i = next.Add(1) - 1 {
				ask := asking{method: http.MethodGet, path: paths[i], header: header}
				start := time.Now()
				if _, err := conn.Write([]byte(ask.request(""))); err != nil {
					fail(err)
					return
				}
				if _, err := r.Peek(1); err != nil {
					fail(err)
					return
				}
				latencies[i] = time.Since(start)
				switch got, err := readAnswer(r, false); {
				case err != nil:
					fail(err)
					return
				case got != status:
					fail(violation{fmt.Sprintf("%s is answered %d, not %d", paths[i], got, status)})
					return
				}
			}
		})
	}
	wait.Wait()
	return latencies, context.Cause(ctx)
}
