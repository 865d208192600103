// A minimal reader and writer of RESP2 and RESP3, for connections that go-redis
// cannot drive: handshakes that identify the server, and trackers, whose pushes
// come between replies.
// https://redis.io/docs/latest/develop/reference/protocol-spec/

package redis

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	goredis "github.com/redis/go-redis/v9"
)

const (
	maxReplyDepth = 8
	maxReplyItems = 1 << 24
	maxReplyBytes = 64 << 20
)

// replyError is an error that a server answered.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError makes replyError an error of go-redis.
func (replyError) RedisError() {}

// pushed is a push message of the server.
type pushed []any

var errMalformed = errors.New("the server does not speak the protocol of Redis: want the address and port of a Redis")

// readReply reads one reply: string, int64, nil, replyError, []any (also for
// sets, and for maps as alternating keys and values), or pushed.
func readReply(r *bufio.Reader) (any, error) { return readNested(r, 0) }

func readNested(r *bufio.Reader, depth int) (any, error) {
	if depth > maxReplyDepth {
		return nil, errMalformed
	}
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	kind := line[0]
	switch kind {
	case '+', ',', '(', '#':
		return string(line[1:]), nil
	case '-':
		return replyError(line[1:]), nil
	case ':':
		n, err := strconv.ParseInt(string(line[1:]), 10, 64)
		if err != nil {
			return nil, errMalformed
		}
		return n, nil
	case '_':
		return nil, nil
	}
	n, err := parseSize(line[1:])
	switch {
	case err != nil:
		return nil, err
	case n == -1:
		return nil, nil
	}
	switch kind {
	case '$', '=':
		return readText(r, n)
	case '!':
		text, err := readText(r, n)
		return replyError(text), err
	case '*', '~':
		return readItems(r, n, depth)
	case '%':
		return readItems(r, 2*n, depth)
	case '>':
		items, err := readItems(r, n, depth)
		return pushed(items), err
	case '|': // attributes of the reply that follows
		if _, err := readItems(r, 2*n, depth); err != nil {
			return nil, err
		}
		return readNested(r, depth+1)
	}
	return nil, errMalformed
}

// readLine reads a line, which has at least one byte, without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errMalformed
	case err != nil:
		return nil, err
	case len(line) < 3 || line[len(line)-2] != '\r':
		return nil, errMalformed
	}
	return line[:len(line)-2], nil
}

// parseSize reads a number of bytes or items, or -1, which stands for null. It
// does not allocate.
func parseSize(text []byte) (n int, err error) {
	if string(text) == "-1" {
		return -1, nil
	}
	if len(text) == 0 {
		return 0, errMalformed
	}
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			return 0, errMalformed
		}
		if n = 10*n + int(digit-'0'); n > maxReplyBytes {
			return 0, errMalformed
		}
	}
	return n, nil
}

func readText(r *bufio.Reader, size int) (string, error) {
	var text bytes.Buffer // grows with what arrives, not with what is announced
	if _, err := io.CopyN(&text, r, int64(size)+2); err != nil {
		return "", err
	}
	b := text.Bytes()
	if b[size] != '\r' || b[size+1] != '\n' {
		return "", errMalformed
	}
	return string(b[:size]), nil
}

func readItems(r *bufio.Reader, n, depth int) ([]any, error) {
	if n > maxReplyItems {
		return nil, errMalformed
	}
	items := make([]any, 0, min(n, 64))
	for range n {
		item, err := readNested(r, depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// appendCommand appends an encoded command.
func appendCommand(b []byte, words ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(words))
	for _, word := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(word), word)
	}
	return b
}

// Interface guards
var _ goredis.Error = replyError("")
