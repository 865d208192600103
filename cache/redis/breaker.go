package redis

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// A breaker stands before each node. After some failures in a row it opens:
// commands fail at once, without network, until after a pause one of them is
// let through to see how the node is. A cluster has one for each node, so that
// a dead one does not cut off the others.

const (
	logBreakerOpen   = "redis fails: it is left alone for a while"
	logBreakerClosed = "redis answers again"
	// probeTimeout is the longest that the command which shows how a node is
	// may take, with its retries, whatever its caller waits: all others are
	// refused meanwhile, also when the node is back.
	probeTimeout = time.Second
)

// errBreakerOpen is the failure of a command that was not sent.
var errBreakerOpen = errors.New("circuit breaker is open")

// breakers has those of all nodes.
type breakers struct {
	options *Options
	logger  *slog.Logger
	mu      sync.Mutex
	nodes   map[string]*breaker // by address
	opened  chan struct{}       // one of them, maybe
}

func newBreakers(o *Options, logger *slog.Logger) *breakers {
	return &breakers{options: o, logger: logger, nodes: make(map[string]*breaker), opened: make(chan struct{}, 1)}
}

// guard puts a breaker before a client of one node.
func (b *breakers) guard(client guarded, addr string, r role) {
	if !b.options.BreakerOff {
		client.AddHook(b.of(client, addr, r))
	}
}

func (b *breakers) of(client guarded, addr string, r role) *breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n, ok := b.nodes[addr]; ok {
		n.clients[r] = client
		return n
	}
	n := &breaker{addr: addr}
	n.clients[r] = client
	n.steps = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:         addr,
		Timeout:      b.options.BreakerCoolDown,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= b.options.BreakerFailures },
		IsSuccessful: isAnswer,
		IsExcluded:   isOwn,
		OnStateChange: func(addr string, from, to gobreaker.State) {
			switch {
			case to == gobreaker.StateClosed:
				b.logger.Info(logBreakerClosed, slog.String("server", addr))
			case from == gobreaker.StateClosed:
				b.logger.Warn(logBreakerOpen, slog.String("server", addr))
				select {
				case b.opened <- struct{}{}:
				default:
				}
			}
		},
	})
	b.nodes[addr] = n
	return n
}

// state is the worst of the nodes: closed, half-open or open.
func (b *breakers) state() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	worst := gobreaker.StateClosed
	for _, n := range b.nodes {
		worst = max(worst, n.steps.State()) // in this order
	}
	return worst.String()
}

// breaker is the hook that stands before one node.
type breaker struct {
	addr    string
	steps   *gobreaker.TwoStepCircuitBreaker[any]
	clients [roles]guarded // under the lock of all breakers
}

func (n *breaker) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (n *breaker) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		ctx, done, err := n.allow(ctx)
		if err != nil {
			cmd.SetErr(err)
			return err
		}
		err = next(ctx, cmd)
		done(err)
		return err
	}
}

func (n *breaker) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		ctx, done, err := n.allow(ctx)
		if err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		err = next(ctx, cmds)
		done(err)
		return err
	}
}

// passed marks the context of a command that has been let through. It may need
// a new connection, whose handshake passes here as well. That must neither be
// refused, where the command is a probe, nor count: a server that lets
// everybody log in and then answers nothing would never fail twice in a row.
type passed struct{}

func (n *breaker) allow(ctx context.Context) (context.Context, func(error), error) {
	if ctx.Value(passed{}) == n {
		return ctx, func(error) {}, nil
	}
	if err := ctx.Err(); err != nil {
		return ctx, nil, err // it came too late to ask anybody
	}
	done, err := n.steps.Allow()
	if err != nil {
		return ctx, nil, errBreakerOpen
	}
	ctx = context.WithValue(ctx, passed{}, n)
	if n.steps.State() != gobreaker.StateHalfOpen {
		return ctx, done, nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	return ctx, func(err error) { cancel(); done(err) }, nil
}

// isOwn tells whether the failure is this side's alone and says nothing about
// the node: the caller has left, the client is closed, or all its connections
// are taken.
func isOwn(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, goredis.ErrClosed) ||
		errors.Is(err, goredis.ErrPoolExhausted) || errors.Is(err, goredis.ErrPoolTimeout)
}

// isAnswer tells whether the node has answered, be it with a refusal. One that
// is not ready, or has lost the others, does not count.
func isAnswer(err error) bool {
	var answer goredis.Error
	switch {
	case err == nil:
		return true
	case goredis.IsLoadingError(err), goredis.IsClusterDownError(err), goredis.IsMasterDownError(err):
		return false
	}
	return errors.As(err, &answer)
}
