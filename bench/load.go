package main

import (
	"slices"
	"time"
)

// load is a number of requests to a site over connections that are kept open.
type load struct {
	addr        string
	template    requestTemplate
	sessions    *sessions
	connections int
	// duration of the load. If visits is not nil, the load is instead one request
	// for each of them; they are indices of sessions.ids.
	duration time.Duration
	visits   []int
}

// requestTemplate is a request without its session.
type requestTemplate struct {
	method, path string
	header       string // further header lines, each with its CRLF
	want         int    // the status that the response must have
}

// text is the request of a session, in HTTP/1.1 and with as few headers as possible.
func (t requestTemplate) text(id string) string {
	return t.method + " " + t.path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: session=" + id + "\r\n" + t.header + "\r\n"
}

// responses are the number of responses to a load, and how long they took.
type responses struct {
	count    int
	took     time.Duration
	p50, p99 time.Duration
}

func (r responses) perSecond() float64 { return float64(r.count) / r.took.Seconds() }

// percentiles returns two percentiles of the latencies, which it sorts in place.
func percentiles(latencies []time.Duration) (p50, p99 time.Duration) {
	if len(latencies) == 0 {
		return 0, 0
	}
	slices.Sort(latencies)
	at := func(percent int) time.Duration { return latencies[(len(latencies)-1)*percent/100] }
	return at(50), at(99)
}
