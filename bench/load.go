package main

import (
	"slices"
	"time"
)

// load is what is asked of a site, over connections that are kept.
type load struct {
	addr        string
	ask         asking
	sessions    *sessions
	connections int
	// duration of the load, or else visits: these sessions once each.
	duration time.Duration
	visits   []int
}

// asking is a request but for its session.
type asking struct {
	method, path string
	header       string // one more line, with what ends it
	want         int    // the status
}

// request is what is sent. HTTP/1.1, and nothing that is not needed.
func (a asking) request(id string) string {
	return a.method + " " + a.path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: session=" + id + "\r\n" + a.header + "\r\n"
}

// answers are what came of a load.
type answers struct {
	count    int
	took     time.Duration
	p50, p99 time.Duration
}

func (a answers) perSecond() float64 { return float64(a.count) / a.took.Seconds() }

// percentiles sorts the latencies.
func percentiles(latencies []time.Duration) (p50, p99 time.Duration) {
	if len(latencies) == 0 {
		return 0, 0
	}
	slices.Sort(latencies)
	at := func(percent int) time.Duration { return latencies[(len(latencies)-1)*percent/100] }
	return at(50), at(99)
}
