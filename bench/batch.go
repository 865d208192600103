package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/redis"
)

// batchPrefix is the prefix of the keys.
const batchPrefix = "batch:"

// batchWork is an operation on many keys of package cache, and the command with which
// redis-benchmark does the same.
type batchWork struct {
	name    string
	do      func(ctx context.Context) (keys int, err error)
	command []string
	// further are other commands that the work sends to Redis, if any.
	further []command
}

// command is a command of Redis.
type command struct {
	text []string
	keys int // how many keys one of these commands is for
}

// batches compares the operations of package cache on many keys with redis-benchmark,
// which sends a hundred commands at a time.
func (b *bench) batches(ctx context.Context, r *results) error {
	n := 100_000
	if b.smoke {
		n = 2000
	}
	server, err := b.startRedis(ctx) // an empty one
	if err != nil {
		return err
	}
	defer server.end()
	c, err := server.openCache()
	if err != nil {
		return err
	}
	defer c.Close()
	works, err := batchWorks(c, n)
	if err != nil {
		return err
	}
	path, err := exec.LookPath("redis-benchmark")
	if err != nil {
		b.say("missing: redis-benchmark (Debian: redis-tools); batches are not compared")
	}
	rates := make([]batchRates, len(works))
	for range b.rounds {
		if err := server.batchRound(ctx, works, n, path, rates); err != nil {
			return err
		}
	}
	if path != "" {
		for i, work := range works {
			r.findings = append(r.findings, rates[i].findings(work)...)
		}
	}
	return b.dropTags(ctx, server, c, r)
}

// batchRound measures each work once, and then its commands with redis-benchmark, unless
// its path is "".
func (r *redisServer) batchRound(ctx context.Context, works []batchWork, n int, path string, rates []batchRates) error {
	for i, work := range works {
		start := time.Now()
		got, err := work.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", work.name, err)
		}
		if got != n {
			return violation{fmt.Sprintf("%s: got %d keys, want %d", work.name, got, n)}
		}
		rates[i].ours = append(rates[i].ours, float64(n)/time.Since(start).Seconds())
	}
	if path == "" {
		return nil
	}
	for i, work := range works {
		if err := r.benchmarkWork(ctx, path, n, work, &rates[i]); err != nil {
			return err
		}
	}
	return nil
}

// batchRates are rates in keys per second, one for each round.
type batchRates struct {
	ours, theirs []float64
	all          []float64 // theirs, if all commands of the work are counted
}

func (r *batchRates) findings(work batchWork) []finding {
	f := compareRates(work.name+" / `redis-benchmark -P 100`", r.ours, r.theirs)
	f.bar, f.reached = "≥ 0.5", spreadOf(ratios(r.ours, r.theirs)).median >= 0.5
	if len(work.further) == 0 {
		return []finding{f}
	}
	return []finding{f, compareRates("the same / `redis-benchmark -P 100` of all its commands: "+work.commands(), r.ours, r.all)}
}

// benchmarkWork measures the commands of a work with redis-benchmark.
func (r *redisServer) benchmarkWork(ctx context.Context, path string, n int, work batchWork, rates *batchRates) error {
	seconds := 0.0 // per key
	for _, c := range work.further {
		rate, err := r.benchmark(ctx, path, max(100, n/c.keys), c.text)
		if err != nil {
			return err
		}
		seconds += 1 / (rate * float64(c.keys))
	}
	rate, err := r.benchmark(ctx, path, n, work.command)
	if err != nil {
		return err
	}
	rates.theirs = append(rates.theirs, rate)
	rates.all = append(rates.all, 1/(seconds+1/rate))
	return nil
}

// commands lists the names of all commands that the work sends.
func (w *batchWork) commands() string {
	var names []string
	for _, c := range w.further {
		names = append(names, c.text[0])
	}
	return strings.Join(append(names, w.command[0]), ", ")
}

func ratios(ours, theirs []float64) []float64 {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / theirs[i]
	}
	return ratios
}

func compareRates(work string, ours, theirs []float64) finding {
	return finding{work: work, result: fmt.Sprintf("%s: %.0f against %.0f keys/s",
		spreadOf(ratios(ours, theirs)), spreadOf(ours).median, spreadOf(theirs).median)}
}

// batchWorks returns the operations, which are done in this order to the same n
// keys.
func batchWorks(c *cache.Cache, n int) ([]batchWork, error) {
	keys, items := make([]string, n), make([]cache.Item, n)
	text := sessionRecord("0123456789abcdef0123456789abcdef")
	for i := range keys {
		record, err := cache.Decode(text, cache.DefaultMaxValueSize)
		if err != nil {
			return nil, err
		}
		// as redis-benchmark names its keys
		keys[i] = fmt.Sprintf("%s%012d", batchPrefix, i)
		items[i] = cache.Item{Key: keys[i], Record: record, TTL: time.Hour}
	}
	key := batchPrefix + "__rand_int__"
	return []batchWork{
		{
			name:    fmt.Sprintf("cache.SetMany of %d records", n),
			command: []string{"SET", key, text, "EX", "3600"},
			do:      func(ctx context.Context) (int, error) { return n, c.SetMany(ctx, items) },
		},
		{
			name:    fmt.Sprintf("cache.GetMany of %d records", n),
			command: []string{"GET", key},
			further: []command{{[]string{"PTTL", key}, 1}},
			do: func(ctx context.Context) (found int, err error) {
				got, err := c.GetMany(ctx, keys)
				for _, g := range got {
					if g.Entry.Record != nil {
						found++
					}
				}
				return found, err
			},
		},
		{
			name:    fmt.Sprintf("cache.DeletePrefix of %d keys", n),
			command: []string{"UNLINK", key},
			further: []command{
				{[]string{"SCAN", "0", "MATCH", cache.OwnPrefix + "*", "COUNT", "1000"}, 1000}, // for leases
				{[]string{"SCAN", "0", "MATCH", batchPrefix + "*", "COUNT", "1000"}, 1000},
			},
			do: func(ctx context.Context) (int, error) { return c.DeletePrefix(ctx, batchPrefix) },
		},
	}, nil
}

// openCache opens a cache over this Redis, as a Go program does.
func (r *redisServer) openCache() (*cache.Cache, error) {
	stats := cache.NewStats()
	store, err := redis.New(redis.Options{Addresses: []string{r.addr}}, stats, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return cache.New(store, stats), nil
}

// benchmark runs redis-benchmark, and returns its commands per second.
func (r *redisServer) benchmark(ctx context.Context, path string, n int, command []string) (float64, error) {
	host, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		return 0, err
	}
	count := strconv.Itoa(n)
	args := append([]string{"-h", host, "-p", port, "-P", "100", "-n", count, "-r", count, "--csv"}, command...)
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return 0, fmt.Errorf("running redis-benchmark: %w", err)
	}
	return parseRedisBenchmark(string(out))
}

// parseRedisBenchmark reads the rate from the last line of redis-benchmark's CSV: the
// command, which may contain quotes and commas, then the rate, all in quotes.
func parseRedisBenchmark(out string) (float64, error) {
	last := ""
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) != "" {
			last = lines.Text()
		}
	}
	_, rest, found := strings.Cut(strings.TrimPrefix(last, `"`), `","`)
	for found {
		text, more, again := strings.Cut(strings.TrimRight(rest, "\"\r"), `","`)
		if rate, err := strconv.ParseFloat(text, 64); err == nil {
			return rate, nil
		}
		rest, found = more, again
	}
	return 0, fmt.Errorf("redis-benchmark has printed no rate: %q", out)
}
