// Counting the requests that the server refuses, with what it said.

package redis

import (
	"context"
	"errors"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// ownWork marks the context of commands that serve neither a lookup nor a
// request.
type ownWork struct{}

// kinds of commands
type kind int

const (
	isWrite kind = iota // whatever is not known
	isRead
	isNeither // it concerns the server or the connection
)

func kindOf(command string) kind {
	switch command {
	case "get", "getrange", "mget", "pttl", "exists", "scan", "zscan", "zrange":
		return isRead
	case "ping", "info", "hello", "cluster", "time", "readonly", "select", "auth":
		return isNeither
	}
	return isWrite
}

// countRefused counts a round trip whose commands the server has refused.
func (s *Store) countRefused(ctx context.Context, cmds ...goredis.Cmder) {
	if ctx.Value(ownWork{}) != nil {
		return
	}
	var read, write error
	for _, cmd := range cmds {
		if err := cmd.Err(); isRefused(err) {
			switch kindOf(cmd.Name()) {
			case isWrite:
				write = err
			case isRead:
				read = err
			}
		}
	}
	if read != nil {
		s.stats.StoreErrors.Refused(false, serverText(read))
	}
	if write != nil {
		s.stats.StoreErrors.Refused(true, serverText(write))
	}
}

// isRefused reports whether the server refused a command or the connection. A
// key without a value, or with a value of another type, is not a refusal.
func isRefused(err error) bool {
	var answer goredis.Error
	var refused *refusedError
	switch {
	case err == nil, errors.Is(err, goredis.Nil), isWrongType(err), hasCode(err, "NOSCRIPT", "MOVED", "ASK"):
		return false
	}
	return errors.As(err, &answer) || errors.As(err, &refused) && !errors.Is(err, errBreakerOpen)
}

// maxServerText is the largest part of a server's text that is kept, in bytes.
const maxServerText = 200

// serverText returns what a server said, without the arguments of commands,
// which are keys.
func serverText(err error) string {
	text := err.Error()
	var answer goredis.Error
	if errors.As(err, &answer) {
		text = answer.Error()
	}
	text, _, _ = strings.Cut(text, ", with args beginning with")
	if len(text) > maxServerText {
		text = strings.ToValidUTF8(text[:maxServerText], "")
	}
	return text
}
