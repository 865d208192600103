// Command bench compares Caddy with this plugin to Caddy without it, to
// forward_auth, and to nginx, side by side on this machine:
//
//	go -C bench run .            # some twenty-five minutes
//	go -C bench run . -smoke     # does it work, and are the counts right?
//
// It is a module of its own, so that building the plugin does not need what only
// the benchmark needs, and runs in its directory: paths in flags start there.
//
// It starts every server by itself, each a process with equally many workers
// on a free port of loopback. Its loads come from wrk, or where wrk is missing
// or cannot, from a client of its own. The result is in ratios: of what two
// variants did in the same round, the median over rounds, and the spread.
//
// Where things are:
//
//	groups.go       what is compared, and the bars; filegroups.go: index and
//	                precompressed files
//	servers.go      what is started: caddyservers.go, nginxserver.go,
//	                redisserver.go, application.go, process.go; caddy/ is the program
//	load.go         the load: sessions.go, wrk.go, client.go
//	measure.go      one load at one site: time, CPU, calls; strace.go, profile.go
//	rounds.go       a group of variants, round by round
//	growth.go       the same with more connections, keys and routes
//	fleet.go        the writes of others, with more nodes: fleetnode.go,
//	                fleetredis.go, wire.go
//	batch.go        purging and batches, beside redis-benchmark
//	tags.go         dropping a tag of few and of many records
//	warmfiles.go    warming the records of files, beside find
//	latency.go      hits beside slow misses; openloop.go: requests that begin on time
//	micro.go        hits in this process
//	nearcopies.go   what many near copies take: memory, and CPU at a hit
//	table.go        the tables
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	smoke    bool
	only     *regexp.Regexp
	rounds   int
	duration time.Duration
	markdown string
	profiles string
}

func main() {
	o := options{only: regexp.MustCompile("")}
	flag.BoolVar(&o.smoke, "smoke", false, "some hundred requests each, and no times: only statuses and counts")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each variant has its turn")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "of each turn, in whole seconds")
	flag.StringVar(&o.markdown, "markdown", "", "write the tables into this `file` too")
	flag.StringVar(&o.profiles, "profiles", "", "keep a CPU profile of each Caddy variant in this `directory`")
	flag.Func("only", "what to measure: a `regexp` of names such as 'HEAD' or 'growth'", func(text string) (err error) {
		o.only, err = regexp.Compile(text)
		return err
	})
	application := flag.String("application", "", "be the application that knows the sessions, on this address (used by bench itself)")
	nodeAddr := flag.String("node", "", "be a node of a fleet, on this address (used by bench itself)")
	nodeRedis := flag.String("redis", "", "the Redis of -node")
	flag.Parse()
	if *nodeAddr != "" {
		exit(serveNode(*nodeAddr, *nodeRedis))
	}
	if *application != "" {
		exit(serveApplication(*application))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := measureAll(ctx, o)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// measureAll writes what it does to stderr and the tables to stdout.
func measureAll(ctx context.Context, o options) (err error) {
	start := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%5.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	workers := max(1, runtime.NumCPU()/2)
	servers, err := startServers(ctx, dir, workers, say)
	if err != nil {
		return err
	}
	defer servers.end()
	b, err := newBench(ctx, servers, o, say)
	if err != nil {
		return err
	}
	r, err := b.all(ctx, o.only)
	if err != nil {
		return err
	}
	say("done")
	return b.publish(r, o)
}

func newBench(ctx context.Context, s *servers, o options, say func(string, ...any)) (*bench, error) {
	b := &bench{
		servers: s, strace: !o.smoke, smoke: o.smoke, rounds: o.rounds, duration: o.duration, profiles: o.profiles,
		say: say, warmed: make(map[string]bool),
	}
	visitors := 10_000
	if o.smoke {
		visitors, b.rounds = 200, 1
	} else {
		var err error
		if b.wrk, err = findWrk(s.dir, max(1, runtime.NumCPU()-s.workers)); err != nil {
			return nil, err
		}
		if b.wrk == nil {
			say("missing: wrk; a client written in Go takes its place")
		}
	}
	if b.profiles != "" {
		if err := os.MkdirAll(b.profiles, 0o755); err != nil {
			return nil, err
		}
	}
	var err error
	b.visitors, err = b.newVisitors(ctx, visitors)
	return b, err
}

// results are all that was measured.
type results struct {
	outcomes []outcome
	findings []finding
	growth   []growth
	grids    []grid
}

// all measures whatever has a name that matches.
func (b *bench) all(ctx context.Context, only *regexp.Regexp) (r results, err error) {
	etags, err := b.etags(ctx)
	if err != nil {
		return r, err
	}
	for _, g := range groups(etags) {
		if !only.MatchString(g.name) {
			continue
		}
		g, ok := b.available(g)
		if !ok {
			continue
		}
		b.say("%s", g.name)
		o, err := b.run(ctx, g)
		if err != nil {
			return r, fmt.Errorf("%s: %w", g.name, err)
		}
		r.outcomes = append(r.outcomes, o)
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context, *results) error
	}{{"hashing", b.hashing}, {"batches", b.batches}, {"warm", b.warmFiles}, {"hits", b.hits}, {"near copies", b.nearCopies}, {"latency", b.hitsBesideMisses}, {"growth", b.grow}, {"fleet", b.fleet}} {
		if !only.MatchString(part.name) {
			continue
		}
		b.say("%s", part.name)
		if err := part.measure(ctx, &r); err != nil {
			return r, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return r, ctx.Err()
}

// publish writes the tables, unless there was no time to measure.
func (b *bench) publish(r results, o options) error {
	if b.smoke {
		_, err := fmt.Println("all statuses and counts are as they must be")
		return err
	}
	var out io.Writer = os.Stdout
	if o.markdown != "" {
		file, err := os.Create(o.markdown)
		if err != nil {
			return err
		}
		defer file.Close()
		out = io.MultiWriter(os.Stdout, file)
	}
	_, err := io.WriteString(out, b.tables(r))
	return err
}
