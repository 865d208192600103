// Loads whose requests begin at fixed times, whether or not earlier requests are
// answered, as those of many independent clients do. The latency of a request
// counts from the time at which it should have begun, so that a server that
// stops for a while is charged for all requests of that while (Gil Tene,
// "coordinated omission"; the load generator wrk2 does the same).

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
	ask       asking
	perSecond int
	count     int
	// id returns the session of the n-th request, and whether its latency counts.
	id func(n int) (id string, counts bool)
	// path is what the n-th request asks for; nil means what ask has.
	path func(n int) string
	// firstByte counts from the sending of a request to the first byte of its
	// answer. That shows what is shorter than a timer is late.
	firstByte bool
}

// idleLimit bounds the connections. A request that finds none free waits, which
// is a part of its latency.
const idleLimit = 256

// run sends the load and returns the latencies that count. The status of each
// answer is checked.
func (l openLoad) run(ctx context.Context) (latencies []time.Duration, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var (
		mu   sync.Mutex
		wait sync.WaitGroup
		work = make(chan openRequest, l.count)
	)
	for range min(idleLimit, l.count) {
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
		select { // timers are a part of a millisecond late, in all loads alike
		case <-ctx.Done():
		case <-time.After(time.Until(due)):
		}
		request := openRequest{due: due, ask: l.ask}
		request.id, request.counts = l.id(n)
		if l.path != nil {
			request.ask.path = l.path(n)
		}
		work <- request
	}
	close(work)
	wait.Wait()
	return latencies, context.Cause(ctx)
}

// openRequest is a request that is due at a time.
type openRequest struct {
	due    time.Time
	ask    asking
	id     string
	counts bool
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
		ask, start := request.ask, time.Now()
		if _, err := conn.Write([]byte(ask.request(request.id))); err != nil {
			return nil, fmt.Errorf("asking: %w", err)
		}
		first, err := time.Duration(0), error(nil)
		if l.firstByte {
			_, err = r.Peek(1)
			first = time.Since(start)
		}
		if err != nil {
			return nil, fmt.Errorf("reading an answer: %w", err)
		}
		status, err := readAnswer(r, ask.method == http.MethodHead)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading an answer: %w", err)
		case status != ask.want:
			return nil, violation{fmt.Sprintf("%s %s is answered %d, not %d", ask.method, ask.path, status, ask.want)}
		case request.counts && l.firstByte:
			latencies = append(latencies, first)
		case request.counts:
			latencies = append(latencies, time.Since(request.due))
		}
	}
	return latencies, nil
}
