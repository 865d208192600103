package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// wire is a connection to Redis that costs this program little: it sends
// commands, skips the replies, and counts what is pushed.
type wire struct {
	conn   net.Conn
	reader *bufio.Reader
	number int64 // the last reply that was a number
	inPush bool
	// pushes are messages; keys are the keys in them.
	pushes, keys atomic.Int64
}

// wire connects, sends commands, and waits for their replies.
func (r *redisServer) wire(ctx context.Context, commands ...[]string) (*wire, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return nil, err
	}
	w := &wire{conn: conn, reader: bufio.NewReaderSize(conn, 64<<10)}
	if err := w.do(commands...); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return w, nil
}

// do sends commands at once and waits for their replies.
func (w *wire) do(commands ...[]string) error {
	var text []byte
	for _, command := range commands {
		text = appendCommand(text, command...)
	}
	if _, err := w.conn.Write(text); err != nil {
		return err
	}
	for range commands {
		for kind := byte('>'); kind == '>'; {
			var err error
			if kind, err = w.skip(); err != nil {
				return err
			}
		}
	}
	return nil
}

// skip reads one message and returns its kind. An error of Redis is one here.
func (w *wire) skip() (kind byte, err error) {
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 3 {
		return 0, fmt.Errorf("redis answered %q", line)
	}
	kind = line[0]
	n, negative := 0, line[1] == '-'
	for _, digit := range line[1 : len(line)-2] {
		n = 10*n + int(digit-'0') // of what is no number, it is not used
	}
	switch kind {
	case '-':
		return kind, fmt.Errorf("redis answered %q", line)
	case ':':
		w.number = int64(n)
	case '$', '=':
		if !negative {
			_, err = w.reader.Discard(n + 2)
		}
	case '*', '~', '%', '>':
		if negative {
			break
		}
		if kind == '%' {
			n *= 2
		}
		switch {
		case kind == '>':
			w.pushes.Add(1)
			w.inPush = true
		case w.inPush:
			w.keys.Add(int64(n))
		}
		for ; n > 0 && err == nil; n-- {
			_, err = w.skip()
		}
		if kind == '>' {
			w.inPush = false
		}
	}
	return kind, err
}

// follow reads whatever comes until the connection is closed.
func (w *wire) follow() {
	for {
		if _, err := w.skip(); err != nil {
			return
		}
	}
}

// appendCommand appends an encoded command.
func appendCommand(b []byte, words ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(words))
	for _, word := range words {
		b = strconv.AppendInt(append(b, '$'), int64(len(word)), 10)
		b = append(append(append(b, "\r\n"...), word...), "\r\n"...)
	}
	return b
}

// writerConnections are as many as some application has.
const writerConnections = 16

// writer is an application that writes sessions at a steady rate. Its
// connections take turns.
type writer struct {
	conns   []net.Conn
	replied atomic.Int64 // bytes of replies
}

func (r *redisServer) newWriter(ctx context.Context) (*writer, error) {
	w := new(writer)
	for range writerConnections {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.addr)
		if err != nil {
			w.close()
			return nil, err
		}
		w.conns = append(w.conns, conn)
		go func() {
			buffer := make([]byte, 64<<10)
			for {
				n, err := conn.Read(buffer)
				w.replied.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
	return w, nil
}

func (w *writer) close() {
	for _, conn := range w.conns {
		_ = conn.Close()
	}
}

// writes are what is to be written.
type writes struct {
	keys   []string
	rate   int // a second
	atOnce int // in one pipeline
	value  string
}

// okay is the reply to a SET.
const okay = "+OK\r\n"

// run writes all keys, whose number is one of whole pipelines, as fast as the rate allows, and waits for the replies. It
// returns how long that took.
func (w *writer) run(ctx context.Context, all writes) (time.Duration, error) {
	want := w.replied.Load() + int64(len(all.keys)*len(okay))
	begun, buffer := time.Now(), []byte(nil)
	for i := 0; i < len(all.keys); {
		due := min(len(all.keys), int(time.Since(begun).Seconds()*float64(all.rate))+1)
		for ; i < due; i += all.atOnce {
			buffer = buffer[:0]
			for _, key := range all.keys[i : i+all.atOnce] {
				buffer = appendCommand(buffer, "SET", key, all.value, "EX", "3600")
			}
			if _, err := w.conns[i/all.atOnce%len(w.conns)].Write(buffer); err != nil {
				return 0, fmt.Errorf("writing sessions: %w", err)
			}
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		pauseBriefly()
	}
	err := eventually(ctx, "all writes are answered", func() (bool, error) { return w.replied.Load() >= want, nil })
	return time.Since(begun), err
}

// readAll reads keys over a connection, some hundred at a time.
func (w *wire) readAll(keys []string) error {
	for part := range slices.Chunk(keys, 200) {
		commands := make([][]string, len(part))
		for i, key := range part {
			commands[i] = []string{"GET", key}
		}
		if err := w.do(commands...); err != nil {
			return fmt.Errorf("reading sessions: %w", err)
		}
	}
	return nil
}
