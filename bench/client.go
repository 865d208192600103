// A load generator for what wrk cannot do: send an exact number of requests, use
// each session once, check each status, and send HEAD (wrk waits for a body that
// the response does not have).

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// runClient sends the load and checks the status of each response.
func runClient(ctx context.Context, l load) (responses, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var (
		count     atomic.Int64
		wait      sync.WaitGroup
		latencies = make([][]time.Duration, l.connections)
		start     = time.Now()
	)
	next := func() (id string, ok bool) {
		i := int(count.Add(1) - 1)
		switch {
		case l.visits != nil && i < len(l.visits):
			return l.sessions.ids[l.visits[i]], true
		case l.visits == nil && time.Since(start) < l.duration:
			return l.sessions.ids[l.sessions.visits[i%visitCount]], true
		}
		return "", false
	}
	for i := range l.connections {
		wait.Go(func() {
			var err error
			if latencies[i], err = l.runConnection(ctx, next); err != nil {
				fail(err) // ends the others; the first failure is returned
			}
		})
	}
	wait.Wait()
	took := time.Since(start)
	var all []time.Duration
	for _, some := range latencies {
		all = append(all, some...)
	}
	a := responses{count: len(all), took: took}
	a.p50, a.p99 = percentiles(all)
	return a, context.Cause(ctx)
}

// runConnection sends requests over one connection until there is no next session.
func (l load) runConnection(ctx context.Context, next func() (id string, ok bool)) (latencies []time.Duration, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	r := bufio.NewReaderSize(conn, 64<<10)
	for id, ok := next(); ok; id, ok = next() {
		start := time.Now()
		if _, err := conn.Write([]byte(l.template.text(id))); err != nil {
			return latencies, fmt.Errorf("sending a request: %w", err)
		}
		status, err := readResponse(r, l.template.method == http.MethodHead)
		if err != nil {
			return latencies, fmt.Errorf("reading a response: %w", err)
		}
		if status != l.template.want {
			return latencies, violation{fmt.Sprintf("%s %s got status %d, want %d", l.template.method, l.template.path, status, l.template.want)}
		}
		latencies = append(latencies, time.Since(start))
	}
	return latencies, nil
}

var contentLength = []byte("Content-Length:")

// readResponse reads a whole response and returns its status. It needs a
// Content-Length, which all servers of the benchmark send.
func readResponse(r *bufio.Reader, head bool) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("want a response of HTTP/1.1, got %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	size := -1
	for {
		line, err = r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				return 0, err
			}
		}
	}
	if head || status == http.StatusNotModified || status == http.StatusNoContent {
		return status, nil
	}
	if size < 0 {
		return 0, errors.New("the response has no Content-Length")
	}
	_, err = io.CopyN(io.Discard, r, int64(size))
	return status, err
}
