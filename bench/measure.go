package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// connections is the number of connections of most loads.
const connections = 64

// bench measures sites of running servers, with the options of the command line.
type bench struct {
	*servers
	wrk      *wrk // nil where it is not installed
	strace   bool
	smoke    bool
	rounds   int
	duration time.Duration
	profiles string // a directory, or empty
	say      func(format string, args ...any)

	visitors *sessions       // all servers have cached them before they are measured
	warmed   map[string]bool // sites that have cached all visitors
	sets     int             // number of sets of sessions so far, for unused names
}

// fileTraffic counts the records that file_metadata found in a cache (hits) and
// those that it made by reading a file's metadata (loads).
type fileTraffic struct{ hits, loads int64 }

// violation is the error for a wrong count or status: the result cannot be used,
// however fast it was.
type violation struct{ text string }

func (v violation) Error() string { return v.text }

// sample is what one load caused at one site.
type sample struct {
	responses
	cpu         time.Duration // CPU time of the site's server
	application int64         // requests that the application got
	redis       redisTraffic
	files       fileTraffic
}

// cpuPer10k returns the CPU time of 10 000 requests, in seconds.
func (s sample) cpuPer10k() float64 { return s.cpu.Seconds() / float64(s.count) * 10_000 }

// measure sends a load to a site and counts what it causes.
func (b *bench) measure(ctx context.Context, at site, l load) (s sample, err error) {
	l.addr = at.addr
	before, err := b.count(ctx, at)
	if err != nil {
		return sample{}, err
	}
	if b.wrk.can(l) {
		s.responses, err = b.wrk.run(ctx, l)
	} else {
		s.responses, err = runClient(ctx, l)
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

// count reads all counters of a site. Trackers and timers move them too, but far
// less than a load does.
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

// countFiles reads the counters of file metadata from a Caddy's statistics.
func countFiles(ctx context.Context, at site) (fileTraffic, error) {
	var stats struct {
		Families map[string]struct{ Hits int64 }
		Sources  map[string]struct{ Requests int64 }
	}
	err := getJSON(ctx, "http://"+at.admin+"/filewallball/stats", &stats)
	if err != nil {
		return fileTraffic{}, fmt.Errorf("reading the statistics of %s: %w", at.process.name, err)
	}
	return fileTraffic{stats.Families["file_meta"].Hits, stats.Sources["file_system"].Requests}, nil
}

// getJSON decodes the JSON that a URL returns.
func getJSON(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

// applicationCalls returns how many requests the application has got so far.
func (b *bench) applicationCalls(ctx context.Context) (calls int64, err error) {
	if err := getJSON(ctx, "http://"+b.application.addr+"/calls", &calls); err != nil {
		return 0, fmt.Errorf("reading the count of the application: %w", err)
	}
	return calls, nil
}

// newVisitors stores n sessions in Redis that no server has cached yet.
func (b *bench) newVisitors(ctx context.Context, n int) (*sessions, error) {
	b.sets++
	s := newSessions(fmt.Sprint("set", b.sets), n)
	return s, b.redis.logIn(ctx, s.ids)
}

// warm lets a site cache all visitors, if it looks sessions up, and then what the
// variant's own request needs.
func (b *bench) warm(ctx context.Context, v variant) error {
	own := load{template: v.template, sessions: b.visitors, connections: 1, visits: b.visitors.visits[:1]}
	if !b.warmed[v.site] && (v.cold.application != never || v.cold.redis != never) {
		all := load{template: get(small), sessions: b.visitors, connections: connections, visits: eachOnce(b.visitors)}
		if err := b.warmUpWith(ctx, v, all); err != nil {
			return err
		}
		b.warmed[v.site] = true
	}
	return b.warmUpWith(ctx, v, own)
}

// warmUpWith repeats a load until it causes no requests to Redis or the
// application, twice in a row. Once is not enough: a near copy is dropped again
// when Redis reports the write that it was made from.
func (b *bench) warmUpWith(ctx context.Context, v variant, l load) error {
	const tries, inARow = 50, 2
	quiet := 0
	for range tries {
		s, err := b.measure(ctx, b.sites[v.site], l)
		if err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
		quiet++
		if err = v.check("warming up", l, s, v.warm); err != nil {
			quiet = 0
		}
		if quiet == inARow || v.warm.application != never || v.warm.redis != never {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // Redis reports writes within 10 ms
		}
	}
	return violation{v.site + " still sends requests to Redis or the application for what it has cached"}
}

// eachOnce visits each session once.
func eachOnce(s *sessions) []int {
	visits := make([]int, len(s.ids))
	for i := range visits {
		visits[i] = i
	}
	return visits
}

// check compares the traffic that a load caused with what it must be.
func (v variant) check(phase string, l load, s sample, want traffic) error {
	wrong := func(got int64, what string, much string, exactly int64) error {
		return violation{fmt.Sprintf("%s, %s: %d requests of %d sessions caused %d %s, want %s%d",
			v.site, phase, s.count, len(l.sessions.ids), got, what, much, exactly)}
	}
	if n, ok := want.application.of(l, s); ok && s.application != n {
		return wrong(s.application, "requests to the application", "", n)
	}
	if n, ok := want.files.of(l, s); ok {
		switch {
		case s.files.loads != n:
			return wrong(s.files.loads, "loads of records of files", "", n)
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

// background is the largest number of round trips of trackers during a load. They
// check their connections regularly, with one command or several at a time.
const background = 40

// of returns the count that a load must cause. ok is false if it is not checked.
func (f frequency) of(l load, s sample) (n int64, ok bool) {
	switch f {
	case never:
		return 0, true
	case perSession:
		return int64(len(l.sessions.ids)), true
	case perRequest:
		return int64(s.count), true
	}
	return 0, false
}

// etag returns the ETag that a site sends for a path.
func (b *bench) etag(ctx context.Context, site, path, accept string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+b.sites[site].addr+path, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Accept-Encoding", accept)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("reading the ETag of %s: %w", path, err)
	}
	return response.Header.Get("ETag"), response.Body.Close()
}

func (b *bench) etags(ctx context.Context) (etags entityTags, err error) {
	if etags.small, err = b.etag(ctx, bareFiles, small, "identity"); err != nil {
		return etags, err
	}
	etags.precompressed, err = b.etag(ctx, barePrecompressed, style, "gzip, deflate, br, zstd")
	return etags, err
}
