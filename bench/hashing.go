// Requests for files without records, while large files are hashed.

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	hashedSmall, hashedSmallSize = 10_000, 2 << 10
	hashedLarge, hashedLargeSize = 20, 1 << 30
	// maxHashingRounds is the largest number of rounds; each takes a minute.
	maxHashingRounds = 3
	// hashedPerSecond is the rate of the load, in requests per second.
	hashedPerSecond = 2000
	// firstByteBar is the largest allowed ratio of the time to the first byte to
	// that of file_server.
	firstByteBar = 1.1
)

// hashingVariants are compared. Each turn starts a server of its own, which has no
// records. Without Redis, records are in the server's memory.
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

// hashing measures the time to the first byte of files without records.
func (b *bench) hashing(ctx context.Context, r *results) error {
	count := hashedSmall
	if b.smoke {
		count = 200
	}
	root := b.hashedRoot()
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
	took := make([]firstByteTimes, len(hashingVariants))
	for round := range min(b.rounds, maxHashingRounds) {
		for i := range hashingVariants {
			i = (i + round) % len(hashingVariants)
			if err := b.hashingTurn(ctx, redis, round, i, large, small, &took[i]); err != nil {
				return fmt.Errorf("%s: %w", hashingVariants[i].name, err)
			}
		}
	}
	if b.smoke {
		return nil
	}
	p50, p99 := func(a responses) time.Duration { return a.p50 }, func(a responses) time.Duration { return a.p99 }
	for _, c := range []struct{ i, with int }{{2, 0}, {4, 0}, {4, 3}} {
		ours, other := took[c.i], took[c.with]
		r.findings = append(r.findings,
			compareFirstBytes("p50", "files not seen yet", c.i, c.with, ours.unseen, other.unseen, p50),
			compareFirstBytes("p99", "files not seen yet", c.i, c.with, ours.unseen, other.unseen, p99))
		if c.with == 0 {
			r.findings = append(r.findings, compareFirstBytes("p50", "the same again", c.i, c.with, ours.again, other.again, p50))
		}
	}
	return nil
}

// firstByteTimes are the times of one variant, one element for each round: of files
// without records, and of the same files again.
type firstByteTimes struct{ unseen, again []responses }

func compareFirstBytes(quantile, what string, i, with int, ours, other []responses, of func(responses) time.Duration) finding {
	a, b := milliseconds(ours, of), milliseconds(other, of)
	ratio := spreadOf(ratios(a, b))
	return finding{
		fmt.Sprintf("%s of the time to the first byte of %d files, %d a second, after %d of 1 GiB: %s, %s / %s",
			quantile, hashedSmall, hashedPerSecond, hashedLarge, what, hashingVariants[i].name, hashingVariants[with].name),
		fmt.Sprintf("≤ %.1f", firstByteBar), ratio.median <= firstByteBar,
		fmt.Sprintf("%s: %.2f ms against %.2f ms", ratio, spreadOf(a).median, spreadOf(b).median),
	}
}

// hashingTurn starts a server and requests all files, the small ones twice.
func (b *bench) hashingTurn(ctx context.Context, redis *redisServer, round, i int, large, small []string, took *firstByteTimes) error {
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
	if err := b.startCaddy(ctx, name, options, []route{{name, lines("\troot "+b.hashedRoot(), metadata, "\tfile_server")}}); err != nil {
		return err
	}
	at := b.sites[name]
	defer func() {
		at.process.end()
		delete(b.sites, name)
	}()
	// the large files first, of each only the first byte
	if _, err := firstBytes(ctx, at.addr, large, "Range: bytes=0-0\r\n", http.StatusPartialContent); err != nil {
		return err
	}
	for _, into := range []*[]responses{&took.unseen, &took.again} {
		latencies, err := firstBytes(ctx, at.addr, small, "", http.StatusOK)
		if err != nil {
			return err
		}
		a := responses{count: len(latencies)}
		a.p50, a.p99 = percentiles(latencies)
		*into = append(*into, a)
	}
	if !at.plugin {
		return nil
	}
	return checkFirstLoads(ctx, at, len(large)+len(small))
}

func (b *bench) hashedRoot() string { return filepath.Join(b.dir, "hashed") }

func milliseconds(of []responses, part func(responses) time.Duration) []float64 {
	values := make([]float64, len(of))
	for i, a := range of {
		values[i] = float64(part(a).Microseconds()) / 1000
	}
	return values
}

// checkFirstLoads checks that the metadata of each file was loaded at most twice:
// before and after it was hashed.
func checkFirstLoads(ctx context.Context, at site, files int) error {
	got, err := countFiles(ctx, at)
	if err == nil && got.loads > int64(2*files) {
		return violation{fmt.Sprintf("%d files caused %d loads, want at most two each", files, got.loads)}
	}
	return err
}

// writeHashed writes the files and returns their paths. The large ones are sparse, so
// they take no space.
func writeHashed(root string, count int) (large, small []string, err error) {
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, nil, fmt.Errorf("writing the files: %w", err)
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
			return nil, nil, fmt.Errorf("writing the files: %w", err)
		}
		large = append(large, path)
	}
	for i := range count {
		path := fmt.Sprintf("/small%d.bin", i)
		if err := write(path, hashedSmallSize); err != nil {
			return nil, nil, fmt.Errorf("writing the files: %w", err)
		}
		small = append(small, path)
	}
	return large, small, nil
}

// firstBytes requests each path once, at a fixed rate, and returns the times to the
// first bytes.
func firstBytes(ctx context.Context, addr string, paths []string, header string, status int) ([]time.Duration, error) {
	l := openLoad{
		addr: addr, template: requestTemplate{method: http.MethodGet, header: header, want: status},
		perSecond: hashedPerSecond, count: len(paths), firstByte: true,
		id:   func(int) (string, bool) { return "", true },
		path: func(n int) string { return paths[n] },
	}
	return l.run(ctx)
}
