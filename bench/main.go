// Command bench compares Caddy with this plugin to Caddy without it, to forward_auth
// and to nginx, on this machine:
//
//	go -C bench run .            # about 25 minutes
//	go -C bench run . -smoke     # checks statuses and counts only
//
// It is a module of its own, so that the plugin does not depend on what only the
// benchmark needs. Paths in flags are relative to its directory.
//
// It starts all servers, each as a process with the same number of workers, on free
// ports of 127.0.0.1. wrk generates the load; a client of its own does where wrk is
// missing or cannot. Results are ratios of two variants in the same round: the median
// of all rounds, the least and the largest.
//
// Where things are:
//
//	groups.go       the comparisons and their bars; filegroups.go: of index files
//	                and precompressed files
//	servers.go      the servers: caddyservers.go, nginxserver.go, redisserver.go,
//	                application.go, process.go; caddy/ is the Caddy that is built
//	load.go         loads: sessions.go, wrk.go, client.go
//	measure.go      one load at one site: time, CPU, requests to the application and
//	                Redis; strace.go: system calls; profile.go: CPU profiles
//	rounds.go       a group of variants, round by round
//	growth.go       growing numbers of connections, keys and routes, larger records
//	fleet.go        the cost of the writes of others in a growing fleet: fleetnode.go,
//	                fleetredis.go, wire.go
//	batch.go        batches and purges, compared with redis-benchmark
//	tags.go         dropping a tag of few and of many records
//	warmfiles.go    warming the records of files, compared with find
//	hashing.go      first requests for files while others are hashed
//	latency.go      latency of hits beside slow misses; openloop.go: loads at a fixed rate
//	micro.go        near hits in this process
//	nearcopies.go   memory of many near copies, and CPU time of a hit among them
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

// options are the values of the flags.
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
	flag.BoolVar(&o.smoke, "smoke", false, "send some hundred requests each, and check only statuses and counts")
	flag.IntVar(&o.rounds, "rounds", 5, "the number of turns of each variant")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "the length of each turn, in whole seconds")
	flag.StringVar(&o.markdown, "markdown", "", "also write the tables into this `file`")
	flag.StringVar(&o.profiles, "profiles", "", "write a CPU profile of each variant of Caddy into this `directory`")
	flag.Func("only", "what to measure: a `regexp` of names such as 'HEAD' or 'growth'", func(text string) (err error) {
		o.only, err = regexp.Compile(text)
		return err
	})
	application := flag.String("application", "", "run as the application that has the sessions, on this address (used by bench itself)")
	nodeAddr := flag.String("node", "", "run as a node of a fleet, on this address (used by bench itself)")
	nodeRedis := flag.String("redis", "", "the address of the Redis of -node")
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

// measureAll writes its progress to standard error and the tables to standard
// output.
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
			say("missing: wrk; the client of bench is used")
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

// results are the results of all measurements.
type results struct {
	outcomes []outcome
	findings []finding
	growth   []growth
	grids    []grid
}

// all runs the measurements whose names match only.
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

// publish writes the tables. With -smoke, there are none.
func (b *bench) publish(r results, o options) error {
	if b.smoke {
		_, err := fmt.Println("all statuses and counts are right")
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
