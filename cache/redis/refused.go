// Round trips that fail are counted, by operation and reason, and logged.

package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Log messages, by operation.
var (
	logRefused  = [...]string{cache.StoreRead: "redis refuses reads", cache.StoreWrite: "redis refuses writes"}
	logAccepted = [...]string{cache.StoreRead: "redis answers reads again", cache.StoreWrite: "redis accepts writes again"}
)

// warnAtMostEach is the least time between two warnings of the same failure,
// while the state does not change.
const warnAtMostEach = time.Minute

// refusals counts failures, and logs when the server begins and ceases to refuse reads
// or writes.
type refusals struct {
	errors *cache.StoreErrors
	log    *slog.Logger

	mu     sync.Mutex
	warned map[cache.StoreFailure]time.Time
}

// failed counts a round trip that failed at a server.
func (r *refusals) failed(op cache.StoreOp, address string, err error) {
	text, failure := serverText(err), cache.StoreFailure{Op: op, Reason: reasonOf(err)}
	refused := refusedBy(err)
	began := r.errors.Failed(failure, text, address, refused)
	if refused == cache.RefusedNothing {
		return // it did not answer, which the health check and the circuit breaker log
	}
	r.mu.Lock()
	due := began || time.Since(r.warned[failure]) >= warnAtMostEach
	if due {
		r.warned[failure] = time.Now()
	}
	r.mu.Unlock()
	if due {
		r.log.Warn(logRefused[op], slog.String("address", address), slog.String("reason", failure.Reason), slog.String("error", text))
	}
}

// worked notes a round trip that succeeded.
func (r *refusals) worked(op cache.StoreOp, address func() string) {
	if r.errors.Worked(op) {
		r.logWorking(op, address())
	}
}

// answered notes an answer to a command that is neither a read nor a write.
func (r *refusals) answered(address func() string) {
	for _, op := range r.errors.Answered() {
		r.logWorking(op, address())
	}
}

func (r *refusals) logWorking(op cache.StoreOp, address string) {
	refused := false // whether a refusal was logged
	r.mu.Lock()
	for failure := range r.warned {
		if failure.Op == op {
			delete(r.warned, failure)
			refused = true
		}
	}
	r.mu.Unlock()
	if refused {
		r.log.Info(logAccepted[op], slog.String("address", address))
	}
}

// onlyReads marks the context of a script that writes nothing.
type onlyReads struct{}

// ownWork marks the context of commands that serve no lookup and no request.
type ownWork struct{}

// kinds of commands
type kind int

const (
	isWrite kind = iota // whatever is not known
	isRead
	isNeither // it concerns the server or the connection
	kinds     = iota
)

func kindOf(command string) kind {
	switch command {
	case "get", "getrange", "mget", "pttl", "exists", "scan", "zscan", "zrange", "xrange", "xrevrange", "hgetall", "hlen", "hkeys", "hstrlen":
		return isRead
	case "ping", "info", "hello", "cluster", "time", "readonly", "select", "auth":
		return isNeither
	}
	return isWrite
}

// outcome is the outcome of a round trip, by kind of command.
type outcome struct {
	failed [kinds]error
	worked [kinds]bool
}

func (o *outcome) add(ctx context.Context, cmd goredis.Cmder, err error) {
	kind := kindOf(cmd.Name())
	if acquire, ok := cmd.(acquireCmd); ok {
		// The script reads, and writes only where there is no record. A server that
		// refuses it may still answer reads, which are then tried.
		if err == nil && acquire.wrote() {
			o.worked[isWrite] = true
		}
		if !isReply(err) {
			kind = isRead
		}
	}
	if kind == isWrite && ctx.Value(onlyReads{}) != nil {
		kind = isRead
	}
	switch {
	case isFailure(err):
		o.failed[kind] = err
	case err == nil, errors.Is(err, goredis.Nil):
		o.worked[kind] = true
	}
}

// countCommand counts the outcome of a command, whose own error is not set yet.
func (s *Store) countCommand(ctx context.Context, address func() string, cmd goredis.Cmder, err error) {
	var o outcome
	o.add(ctx, cmd, err)
	s.count(ctx, address, &o)
}

// countPipeline counts the outcomes of the commands of a round trip.
func (s *Store) countPipeline(ctx context.Context, address func() string, cmds []goredis.Cmder) {
	var o outcome
	for _, cmd := range cmds {
		o.add(ctx, cmd, cmd.Err())
	}
	s.count(ctx, address, &o)
}

func (s *Store) count(ctx context.Context, address func() string, o *outcome) {
	if ctx.Value(ownWork{}) != nil {
		return
	}
	for kind, op := range [...]cache.StoreOp{isWrite: cache.StoreWrite, isRead: cache.StoreRead} {
		switch {
		case o.failed[kind] != nil:
			s.refusals.failed(op, address(), o.failed[kind])
		case o.worked[kind]:
			s.refusals.worked(op, address)
		}
	}
	if o.worked[isNeither] {
		s.refusals.answered(address)
	}
}

// isFailure reports whether a command failed at the server, or on the way to it. A
// caller that has left, a key without a value, and a value of another type are no
// failures.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, goredis.ErrClosed) &&
		(refusedBy(err) != cache.RefusedNothing || reasonOf(err) != otherReason || !isReply(err))
}

func isReply(err error) bool {
	var answer goredis.Error
	return errors.As(err, &answer)
}

// refusedBy returns what the server refuses with an error. That a key has no
// value, or one of another type, is no refusal.
func refusedBy(err error) cache.StoreRefusal {
	var refused *refusedError
	switch {
	case err == nil, errors.Is(err, goredis.Nil), isWrongType(err), hasCode(err, "NOSCRIPT", "MOVED", "ASK"):
		return cache.RefusedNothing
	case isReply(err):
		return cache.RefusedCommand
	case errors.As(err, &refused) && !errors.Is(err, errBreakerOpen):
		return cache.RefusedConnection
	}
	return cache.RefusedNothing
}

// The reasons that do not come from the text of the server.
const (
	otherReason      = "other"
	breakerReason    = cache.StoreNotAsked
	poolReason       = "pool_exhausted"
	timeoutReason    = "timeout"
	connectionReason = "connection"
	trustReason      = "certificate"
)

// serverReasons are the first words of a server's errors that are reasons of
// their own; they are few, so that they can be labels.
var serverReasons = map[string]string{
	"NOPERM": "noperm", "OOM": "oom", "READONLY": "readonly", "NOREPLICAS": "noreplicas", "MISCONF": "misconf",
	"WRONGPASS": "wrongpass", "NOAUTH": "noauth", "BUSY": "busy", "LOADING": "loading", "MASTERDOWN": "masterdown",
	"CLUSTERDOWN": "clusterdown", "TRYAGAIN": "tryagain", "CROSSSLOT": "crossslot", "DENIED": "denied",
	"EXECABORT": "execabort", "ERR": "err",
}

// reasonOf returns the reason why a command failed, in one word.
func reasonOf(err error) string {
	var refused *refusedError
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errBreakerOpen):
		return breakerReason
	case errors.Is(err, goredis.ErrPoolTimeout), errors.Is(err, goredis.ErrPoolExhausted):
		return poolReason
	case isReply(err), errors.As(err, &refused):
		text := serverText(err)
		return reasonOfText(text)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return timeoutReason
	case errors.As(err, &certificate):
		return trustReason
	case network != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return connectionReason
	}
	return otherReason
}

// reasonOfText returns the reason for the text of a server's error.
func reasonOfText(text string) string {
	switch {
	case strings.HasPrefix(text, "ERR unknown command"):
		return "unknown_command"
	case strings.Contains(text, "max number of clients"):
		return "maxclients"
	case strings.HasPrefix(text, "ERR ACL failure in script"), strings.HasPrefix(text, "ERR The user executing the script"):
		return serverReasons["NOPERM"]
	}
	code, _, _ := strings.Cut(text, " ")
	if code == "ERR" { // old servers wrap the error of a script's command
		for inner, reason := range serverReasons {
			if strings.Contains(text, ": -"+inner+" ") {
				return reason
			}
		}
	}
	return cmp.Or(serverReasons[code], otherReason)
}

// inScript is where in a script a command was refused.
var inScript = regexp.MustCompile(` script: [0-9a-f]{40}, on @user_script:\d+\.$`)

// maxServerText is the largest part of a server's text that is kept, in bytes.
const maxServerText = 200

// serverText returns the text of a server's error without the arguments of commands,
// which are keys.
func serverText(err error) string {
	text := err.Error()
	var answer goredis.Error
	if errors.As(err, &answer) {
		text = answer.Error()
	}
	text, _, _ = strings.Cut(text, ", with args beginning with")
	text = inScript.ReplaceAllString(text, "")
	text = withoutQuotes(text)
	if len(text) > maxServerText {
		text = strings.ToValidUTF8(text[:maxServerText], "")
	}
	return text
}

// withoutQuotes removes what a server quotes, from the first quotation mark
// to the last, because a key may have quotation marks itself. The names of
// commands and of the memory limit stay.
func withoutQuotes(text string) string {
	for _, mark := range []string{"'", `"`, "`"} {
		before, rest, found := strings.Cut(text, " "+mark)
		end := strings.LastIndex(rest, mark)
		if !found || end < 0 {
			continue
		}
		quoted, after := rest[:end], rest[end+1:]
		if quoted == "maxmemory" || isCommand(quoted) && (strings.HasPrefix(after, " command") || strings.HasSuffix(before, "command")) {
			continue
		}
		text = before + " " + mark + "…" + mark + after
	}
	return text
}

// isCommand reports whether a text may be the name of a command.
func isCommand(text string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ|_") == ""
}
