// Open-loop loads: requests begin at fixed times, whether or not earlier ones
// have been answered, like those of many independent clients. The latency of a
// request counts from the time at which it was due, so that a pause of the server
// counts for every request that was due in it. The load generator wrk2 does the
// same; Gil Tene calls the mistake that this avoids "coordinated omission".

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// openLoad is a load of so many requests a second.
type openLoad struct {
	addr      string
	template  requestTemplate
	perSecond int
	count     int
	// id returns the session of the n-th request, and whether its latency counts.
	id func(n int) (id string, counts bool)
	// path returns the path of the n-th request; nil means that of template.
	path func(n int) string
	// firstByte measures from sending a request to the first byte of its response
	// instead. That excludes the delay of timers, for short latencies.
	firstByte bool
}

// connectionLimit is the largest number of connections. A request that finds none
// free waits, and the wait is part of its latency.
const connectionLimit = 256

// run sends the load, checks the status of each response, and returns the
// latencies that count.
func (l openLoad) run(ctx context.Context) (latencies []time.Duration, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var (
		mu   sync.Mutex
		wait sync.WaitGroup
		work = make(chan openRequest, l.count)
	)
	for range min(connectionLimit, l.count) {
		wait.Go(func() {
			some, err := l.serve(ctx, work)
			if err != nil {
				fail(err)
			}
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, some...)
		})
	}
	start := time.Now()
	for n := range l.count {
		due := start.Add(time.Duration(n) * time.Second / time.Duration(l.perSecond))
		select { // timers fire a fraction of a millisecond late, in all loads alike
		case <-ctx.Done():
		case <-time.After(time.Until(due)):
		}
		request := openRequest{due: due, template: l.template}
		request.id, request.counts = l.id(n)
		if l.path != nil {
			request.template.path = l.path(n)
		}
		work <- request
	}
	close(work)
	wait.Wait()
	return latencies, context.Cause(ctx)
}

// openRequest is a request and the time at which it is due.
type openRequest struct {
	due      time.Time
	template requestTemplate
	id       string
	counts   bool
}

// serve sends requests over one connection, which it opens for the first of
// them.
func (l openLoad) serve(ctx context.Context, work <-chan openRequest) (latencies []time.Duration, err error) {
	var (
		conn net.Conn
		r    *bufio.Reader
	)
	for request := range work {
		if conn == nil {
			if conn, err = new(net.Dialer).DialContext(ctx, "tcp", l.addr); err != nil {
				return nil, fmt.Errorf("connecting: %w", err)
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			r = bufio.NewReader(conn)
		}
		template, start := request.template, time.Now()
		if _, err := conn.Write([]byte(template.text(request.id))); err != nil {
			return nil, fmt.Errorf("sending a request: %w", err)
		}
		first, err := time.Duration(0), error(nil)
		if l.firstByte {
			_, err = r.Peek(1)
			first = time.Since(start)
		}
		if err != nil {
			return nil, fmt.Errorf("reading a response: %w", err)
		}
		status, err := readResponse(r, template.method == http.MethodHead)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading a response: %w", err)
		case status != template.want:
			return nil, violation{fmt.Sprintf("%s %s got status %d, want %d", template.method, template.path, status, template.want)}
		case request.counts && l.firstByte:
			latencies = append(latencies, first)
		case request.counts:
			latencies = append(latencies, time.Since(request.due))
		}
	}
	return latencies, nil
}
