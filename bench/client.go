// A client of our own, for what wrk cannot do: a counted number of requests,
// each session once, each status checked, and HEAD, whose answer wrk waits for
// a body of.

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

// runClient sends the load and checks the status of each answer.
func runClient(ctx context.Context, l load) (answers, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var (
		next      atomic.Int64
		wait      sync.WaitGroup
		latencies = make([][]time.Duration, l.connections)
		start     = time.Now()
	)
	visit := func() (string, bool) {
		i := int(next.Add(1) - 1)
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
			if latencies[i], err = l.converse(ctx, visit); err != nil {
				fail(err) // the others end; only the first failure counts
			}
		})
	}
	wait.Wait()
	took := time.Since(start)
	var all []time.Duration
	for _, some := range latencies {
		all = append(all, some...)
	}
	a := answers{count: len(all), took: took}
	a.p50, a.p99 = percentiles(all)
	return a, context.Cause(ctx)
}

// converse asks over one connection until there is nothing more to ask.
func (l load) converse(ctx context.Context, visit func() (id string, ok bool)) (latencies []time.Duration, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	r := bufio.NewReaderSize(conn, 64<<10)
	for id, ok := visit(); ok; id, ok = visit() {
		start := time.Now()
		if _, err := conn.Write([]byte(l.ask.request(id))); err != nil {
			return latencies, fmt.Errorf("asking: %w", err)
		}
		status, err := readAnswer(r, l.ask.method == http.MethodHead)
		if err != nil {
			return latencies, fmt.Errorf("reading an answer: %w", err)
		}
		if status != l.ask.want {
			return latencies, violation{fmt.Sprintf("%s %s is answered %d, not %d", l.ask.method, l.ask.path, status, l.ask.want)}
		}
		latencies = append(latencies, time.Since(start))
	}
	return latencies, nil
}

var contentLength = []byte("Content-Length:")

// readAnswer reads a whole answer and returns its status. It knows bodies of a
// known length only; none of the servers here sends others.
func readAnswer(r *bufio.Reader, head bool) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("no answer of HTTP/1.1: %q", line)
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
		return 0, errors.New("the answer does not tell its length")
	}
	_, err = io.CopyN(io.Discard, r, int64(size))
	return status, err
}
