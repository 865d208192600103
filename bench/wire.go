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

// wire is a connection to Redis that needs little CPU of this program: it sends
// commands, skips the replies, and counts push messages.
type wire struct {
	conn   net.Conn
	reader *bufio.Reader
	number int64 // the last integer reply
	inPush bool  // skip is inside a push message
	// the number of push messages, and of the keys in them
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

// skip reads one reply or push message and returns its type, the first byte. An
// error reply is returned as an error.
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
		n = 10*n + int(digit-'0') // n is only used where the line is a number
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

// countPushes reads until the connection is closed.
func (w *wire) countPushes() {
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

// writerConnections is the number of connections of a writer.
const writerConnections = 16

// writer writes sessions at a steady rate, over its connections in turn.
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

// writes are the keys to write, and how.
type writes struct {
	keys   []string
	rate   int // keys per second
	atOnce int // keys per pipeline; the number of keys is a multiple of it
	value  string
}

// okReply is the reply to SET.
const okReply = "+OK\r\n"

// run writes all keys at the rate, waits for the replies, and returns how long that
// took.
func (w *writer) run(ctx context.Context, all writes) (time.Duration, error) {
	want := w.replied.Load() + int64(len(all.keys)*len(okReply))
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
	err := eventually(ctx, "Redis has replied to all writes", func() (bool, error) { return w.replied.Load() >= want, nil })
	return time.Since(begun), err
}

// readAll reads keys, 200 in each pipeline.
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
