package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// connections are as many as a busy browser farm keeps open to one server.
const connections = 64

// bench measures servers.
type bench struct {
	*servers
	wrk      *wrk // nil where it is not installed
	strace   bool
	smoke    bool
	rounds   int
	duration time.Duration
	profiles string // a directory, or empty
	say      func(format string, args ...any)

	visitors *sessions       // that every server has cached
	warmed   map[string]bool // the sites that have seen all visitors
	sets     int             // of sessions that were made
}

// fileTraffic is how often file_metadata found a record in a cache, and how
// often it made one of a file.
type fileTraffic struct{ hits, loads int64 }

// violation is a count that is not what it must be, whatever the time it took.
type violation struct{ text string }

func (v violation) Error() string { return v.text }

// sample is what one load did at one site.
type sample struct {
	answers
	cpu         time.Duration // of the site's server
	application int64         // calls that reached it
	redis       redisTraffic
	files       fileTraffic
}

// cpuPer10k is in seconds.
func (s sample) cpuPer10k() float64 { return s.cpu.Seconds() / float64(s.count) * 10_000 }

// measure sends a load and counts what it causes.
func (b *bench) measure(ctx context.Context, at site, l load) (s sample, err error) {
	l.addr = at.addr
	before, err := b.count(ctx, at)
	if err != nil {
		return sample{}, err
	}
	if b.wrk.can(l) {
		s.answers, err = b.wrk.run(ctx, l)
	} else {
		s.answers, err = runClient(ctx, l)
	}
	if err != nil {
		return sample{}, err
	}
	after, err := b.count(ctx, at)
	if err != nil {
		return sample{}, err
	}
	s.cpu = after.cpu - before.cpu
	s.application = after.application - before.application
	s.redis = after.redis.since(before.redis)
	s.files.hits = after.files.hits - before.files.hits
	s.files.loads = after.files.loads - before.files.loads
	return s, nil
}

// count reads all counters of a site. They do not stand still, but what moves
// them beside the load is small.
func (b *bench) count(ctx context.Context, at site) (s sample, err error) {
	if s.cpu, err = cpuTime(at.process.pid()); err != nil {
		return s, fmt.Errorf("reading the CPU time of %s: %w", at.process.name, err)
	}
	if s.redis, err = b.redis.traffic(ctx); err != nil {
		return s, err
	}
	if at.plugin {
		if s.files, err = countFiles(ctx, at); err != nil {
			return s, err
		}
	}
	s.application, err = b.applicationCalls(ctx)
	return s, err
}

// countFiles asks a Caddy for its counts of file metadata.
func countFiles(ctx context.Context, at site) (fileTraffic, error) {
	var stats struct {
		Families map[string]struct{ Hits int64 }
		Sources  map[string]struct{ Requests int64 }
	}
	err := getJSON(ctx, "http://"+at.admin+"/filewallball/stats", &stats)
	if err != nil {
		return fileTraffic{}, fmt.Errorf("asking %s for its statistics: %w", at.process.name, err)
	}
	return fileTraffic{stats.Families["file_meta"].Hits, stats.Sources["file_system"].Requests}, nil
}

// getJSON reads what a URL answers.
func getJSON(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewDecoder(answer.Body).Decode(into)
}

func (b *bench) applicationCalls(ctx context.Context) (calls int64, err error) {
	if err := getJSON(ctx, "http://"+b.application.addr+"/asked", &calls); err != nil {
		return 0, fmt.Errorf("asking the application what it counted: %w", err)
	}
	return calls, nil
}

// newVisitors are sessions that the application knows, and no server yet.
func (b *bench) newVisitors(ctx context.Context, n int) (*sessions, error) {
	b.sets++
	s := newSessions(fmt.Sprint("set", b.sets), n)
	return s, b.redis.logIn(ctx, s.ids)
}

// warm lets a site that looks sessions up see all visitors, and then the
// variant's own request.
func (b *bench) warm(ctx context.Context, v variant) error {
	own := load{ask: v.ask, sessions: b.visitors, connections: 1, visits: b.visitors.visits[:1]}
	if !b.warmed[v.site] && (v.cold.application != never || v.cold.redis != never) {
		all := load{ask: get(small), sessions: b.visitors, connections: connections, visits: everyone(b.visitors)}
		if err := b.warmUpWith(ctx, v, all); err != nil {
			return err
		}
		b.warmed[v.site] = true
	}
	return b.warmUpWith(ctx, v, own)
}

// warmUpWith repeats a load until it asks for nothing that is cached. A near copy is
// dropped once more when Redis reports the write that it was made from, so
// the first time is not enough.
func (b *bench) warmUpWith(ctx context.Context, v variant, l load) error {
	const tries, inARow = 50, 2
	unasked := 0
	for range tries {
		s, err := b.measure(ctx, b.sites[v.site], l)
		if err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
		unasked++
		if err = v.check("warming up", l, s, v.warm); err != nil {
			unasked = 0
		}
		if unasked == inARow || v.warm.application != never || v.warm.redis != never {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // pushes come within 10ms
		}
	}
	return violation{v.site + " goes on asking for what it knows"}
}

// everyone visits once.
func everyone(s *sessions) []int {
	visits := make([]int, len(s.ids))
	for i := range visits {
		visits[i] = i
	}
	return visits
}

// check compares the traffic of a counted load with what it must be.
func (v variant) check(phase string, l load, s sample, want traffic) error {
	wrong := func(got int64, what string, much string, exactly int64) error {
		return violation{fmt.Sprintf("%s, %s: %d requests of %d sessions cause %d %s, not %s%d",
			v.site, phase, s.count, len(l.sessions.ids), got, what, much, exactly)}
	}
	if n, ok := want.application.of(l, s); ok && s.application != n {
		return wrong(s.application, "calls of the application", "", n)
	}
	if n, ok := want.files.of(l, s); ok {
		switch {
		case s.files.loads != n:
			return wrong(s.files.loads, "records of files", "", n)
		case s.files.hits < int64(s.count):
			return wrong(s.files.hits, "hits of records of files", "at least ", int64(s.count))
		}
	}
	if most := int64(want.trips*float64(len(l.sessions.ids))) + background; want.trips > 0 && s.redis.roundTrips > most {
		return wrong(s.redis.roundTrips, "round trips to Redis", "at most about ", most)
	}
	n, ok := want.redis.of(l, s)
	switch {
	case !ok:
		return nil
	case s.redis.lookups != n:
		return wrong(s.redis.lookups, "lookups in Redis", "", n)
	case l.connections == 1 && s.redis.roundTrips < n-background:
		return wrong(s.redis.roundTrips, "round trips to Redis", "about ", n)
	case s.redis.roundTrips > n+background: // lookups at the same time may share some
		return wrong(s.redis.roundTrips, "round trips to Redis", "at most about ", n)
	}
	return nil
}

// background is how many round trips of trackers a counted load may see: they
// check their connections all the while, with one command or several at a time.
const background = 40

// of is how often that is for a load. ok is false where it is not checked.
func (o often) of(l load, s sample) (n int64, ok bool) {
	switch o {
	case never:
		return 0, true
	case perSession:
		return int64(len(l.sessions.ids)), true
	case perRequest:
		return int64(s.count), true
	}
	return 0, false
}

// etag asks for the ETag that a site sends.
func (b *bench) etag(ctx context.Context, site, path, accept string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+b.sites[site].addr+path, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Accept-Encoding", accept)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("asking for the ETag: %w", err)
	}
	return answer.Header.Get("ETag"), answer.Body.Close()
}

func (b *bench) etags(ctx context.Context) (etags tags, err error) {
	if etags.small, err = b.etag(ctx, bareFiles, small, "identity"); err != nil {
		return etags, err
	}
	etags.precompressed, err = b.etag(ctx, barePrecompressed, style, "gzip, deflate, br, zstd")
	return etags, err
}
