package redis

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

// A circuit breaker stands before each server. After several failures in a row
// it opens: commands fail at once, without network. It closes when the server
// answers again, which is probed in the background (probe.go); after the
// cool-down, a command may try as well. In a cluster each node has its own
// breaker, so that a dead node does not block the others.

const (
	logBreakerOpen   = "circuit breaker is open: redis fails"
	logBreakerClosed = "circuit breaker is closed: redis answers again"
	// probeTimeout is the timeout of a command that is let through an open breaker,
	// with its retries, whatever timeout its caller has: all other commands are
	// refused meanwhile.
	probeTimeout = time.Second
)

// errBreakerOpen is the error of a command that was not sent.
var errBreakerOpen = errors.New("circuit breaker is open")

// openError is errBreakerOpen with the failure that opened the breaker.
type openError struct{ cause error }

func (e *openError) Error() string { return errBreakerOpen.Error() + ": " + e.cause.Error() }

func (e *openError) Is(target error) bool { return target == errBreakerOpen }

// breakers holds the breakers of all servers.
type breakers struct {
	options *Options
	logger  *slog.Logger
	mu      sync.Mutex
	nodes   map[string]*breaker // by address
	opened  chan struct{}       // receives when one may have opened
	changed func()              // called when one opens or closes; it must not block
}

func newBreakers(o *Options, logger *slog.Logger) *breakers {
	return &breakers{options: o, logger: logger, nodes: make(map[string]*breaker), opened: make(chan struct{}, 1), changed: func() {}}
}

// of returns the breaker of a server and adds a client to it.
func (b *breakers) of(client guarded, addr string, r role) *breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.nodes[addr]
	if !ok {
		n = &breaker{breakers: b, addr: addr}
		n.cause.Store(&openError{errors.New("no answer yet")})
		n.steps.Store(n.newSteps())
		b.nodes[addr] = n
	}
	n.clients[r] = client
	return n
}

// state is the worst state of all breakers: closed, half-open or open.
func (b *breakers) state() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	worst := gobreaker.StateClosed
	for _, n := range b.nodes {
		worst = max(worst, n.steps.Load().State()) // the states are in this order
	}
	return worst.String()
}

// answered closes the breaker of a server that has answered on a connection
// other than the pool's. A server that has answered that it is not ready, or has
// lost its cluster, is left to the probes: it answers a ping meanwhile.
func (b *breakers) answered(addr string) {
	b.mu.Lock()
	n := b.nodes[addr]
	b.mu.Unlock()
	if n != nil && !isReply(n.cause.Load().cause) {
		n.close()
	}
}

// breaker is the breaker of one server.
type breaker struct {
	breakers *breakers
	addr     string
	steps    atomic.Pointer[gobreaker.TwoStepCircuitBreaker[any]]
	cause    atomic.Pointer[openError] // the latest failure
	refused  atomic.Bool               // whether that was a refused connection
	closed   atomic.Int64              // when the breaker was closed from outside, as clock.Now
	clients  [roles]guarded            // under the lock of all breakers
}

func (n *breaker) newSteps() *gobreaker.TwoStepCircuitBreaker[any] {
	o := n.breakers.options
	return gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:    n.addr,
		Timeout: o.BreakerCoolDown,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return n.refused.Load() || int(c.ConsecutiveFailures) >= o.BreakerFailures
		},
		IsSuccessful:  isAnswer,
		IsExcluded:    isInconclusive,
		OnStateChange: func(_ string, from, to gobreaker.State) { n.log(from, to) },
	})
}

func (n *breaker) log(from, to gobreaker.State) {
	b := n.breakers
	switch {
	case to == gobreaker.StateClosed:
		b.logger.Info(logBreakerClosed, slog.String("address", n.addr))
		b.changed()
	case from == gobreaker.StateClosed:
		b.logger.Warn(logBreakerOpen, slog.String("address", n.addr), slog.Any("error", n.cause.Load().cause))
		b.changed()
		select {
		case b.opened <- struct{}{}:
		default:
		}
	}
}

// close closes the breaker, whatever its cool-down.
func (n *breaker) close() {
	old := n.steps.Load()
	if old.State() == gobreaker.StateClosed {
		return
	}
	n.refused.Store(false)
	if n.steps.CompareAndSwap(old, n.newSteps()) {
		n.closed.Store(int64(clock.Now()))
		n.log(gobreaker.StateOpen, gobreaker.StateClosed)
	}
}

// allow returns an error if a command must not be sent. Otherwise done must be
// called with its outcome.
func (n *breaker) allow(ctx context.Context) (_ context.Context, done func(error), _ error) {
	steps := n.steps.Load()
	step, err := steps.Allow()
	if err != nil {
		return ctx, nil, n.cause.Load()
	}
	cancel := func() {}
	if steps.State() == gobreaker.StateHalfOpen {
		ctx, cancel = context.WithTimeout(ctx, probeTimeout)
	}
	return ctx, func(err error) {
		cancel()
		if !isAnswer(err) && !isInconclusive(err) {
			var refused *refusedError
			n.cause.Store(&openError{err})
			n.refused.Store(errors.As(err, &refused))
		}
		step(err)
	}, nil
}

// isInconclusive reports whether a failure says nothing about the server: the caller
// has left, the client is closed, all connections are in use, or this process cannot
// make another one.
func isInconclusive(err error) bool {
	return isLocal(err) || errors.Is(err, context.Canceled) || errors.Is(err, goredis.ErrClosed) ||
		errors.Is(err, goredis.ErrPoolExhausted) || errors.Is(err, goredis.ErrPoolTimeout)
}

// isAnswer reports whether the server has answered, even if it refused the
// command. The answers of a server that is not ready, or has lost its cluster,
// do not count; a slot that no node serves is not a failure of other slots.
func isAnswer(err error) bool {
	var answer goredis.Error
	switch {
	case err == nil:
		return true
	case !errors.As(err, &answer):
		return false
	}
	return !hasCode(err, "LOADING", "CLUSTERDOWN", "MASTERDOWN") || strings.Contains(err.Error(), "Hash slot not served")
}
