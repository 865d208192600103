// The gate before a client of one server: the circuit breaker, and turns for
// the connections of its pool.

package redis

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// gate is a hook of a client of one server.
type gate struct {
	breaker   *breaker // nil: off
	turns     *turns
	connector *connector
	addr      func() string // of the server
	// typical is the moving average of how long an answered command takes, in
	// nanoseconds.
	typical atomic.Int64
}

const (
	// A command whose caller gives up after waiting for a connection counts as a
	// failure of the server only if it had this many times as long as commands
	// typically take, within these bounds.
	fairFactor  = 4
	fairTime    = 20 * time.Millisecond
	fairTimeMax = 250 * time.Millisecond
)

// isFair reports whether a command had enough time to be answered.
func (g *gate) isFair(took time.Duration) bool {
	return took >= min(fairTimeMax, max(fairTime, fairFactor*time.Duration(g.typical.Load())))
}

// observe updates the typical time of a command.
func (g *gate) observe(took time.Duration) {
	const weight = 8
	typical := g.typical.Load()
	g.typical.Store(typical + (int64(took)-typical)/weight)
}

// guard puts a gate before a client of one server.
func (s *Store) guard(client guarded, addr string, r role) {
	g := &gate{turns: newTurns(&s.options, &s.waits), connector: s.connector, addr: func() string { return addr }}
	if s.sentinels != nil && r == writes {
		g.addr = s.sentinels.current
	}
	if !s.options.BreakerOff {
		g.breaker = s.nodeBreakers.of(client, addr, r)
	}
	client.AddHook(g)
}

func (g *gate) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (g *gate) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		ctx, v, err := g.enter(ctx)
		if err != nil {
			cmd.SetErr(err)
			return err
		}
		return v.run(func() error { return next(ctx, cmd) }, func() { cmd.SetErr(nil) })
	}
}

func (g *gate) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		setErr := func(err error) {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		ctx, v, err := g.enter(ctx)
		if err != nil {
			setErr(err)
			return err
		}
		err = v.run(func() error { return next(ctx, cmds) }, func() { setErr(nil) })
		if late := new(noAnswerError); errors.As(err, &late) {
			for _, cmd := range cmds {
				if errors.Is(cmd.Err(), context.DeadlineExceeded) {
					cmd.SetErr(err)
				}
			}
		}
		return err
	}
}

// passed marks the context of a command that was let through. The command may
// need a new connection, whose handshake passes the gate as well. The handshake
// must not be refused if the command is a probe. It must not count either: a
// server that accepts every login and then answers nothing would never fail
// several times in a row.
type passed struct{}

// visit is a command that was let through; nil stands for one that does not count.
type visit struct {
	gate    *gate
	ctx     context.Context
	done    func(error) // of the breaker
	waited  bool        // for a turn
	started time.Time
}

// enter returns an error if a command must not be sent.
func (g *gate) enter(ctx context.Context) (context.Context, *visit, error) {
	if ctx.Value(passed{}) == g || ctx.Value(askClosed{}) != nil {
		return ctx, nil, nil
	}
	if err := ctx.Err(); err != nil {
		return ctx, nil, err // the caller no longer waits
	}
	v := &visit{gate: g, done: func(error) {}}
	var err error
	if g.breaker != nil {
		if ctx, v.done, err = g.breaker.allow(ctx); err != nil {
			return ctx, nil, err
		}
	}
	if v.waited, err = g.turns.take(ctx); err != nil {
		v.done(err)
		return ctx, nil, err
	}
	v.started, v.ctx = time.Now(), context.WithValue(ctx, passed{}, g)
	return v.ctx, v, nil
}

// run runs the command and gives its outcome to the breaker. If the command needs a
// connection that this process cannot make, it waits for an existing one. reset clears
// the error of the command.
func (v *visit) run(command func() error, reset func()) error {
	err := command()
	if v == nil {
		return err
	}
	held := true
	for isLocal(err) && held && v.ctx.Err() == nil {
		if held = v.gate.turns.another(v.ctx); held {
			reset()
			v.started = time.Now()
			err = command()
		}
	}
	if held {
		v.gate.turns.giveBack()
	}
	return v.leave(err)
}

// leave returns the outcome of the command, for the caller that waits for it.
func (v *visit) leave(err error) error {
	took := time.Since(v.started)
	if errors.Is(err, context.DeadlineExceeded) {
		err = v.gate.connector.explain(v.gate.addr(), v.started, err)
	}
	outcome := err
	switch {
	case isAnswer(err):
		v.gate.observe(took)
	case isInconclusive(err):
	case v.waited && errors.Is(err, context.DeadlineExceeded) && !v.gate.isFair(took):
		outcome = errLittleTime
	default:
		// the other connections to the server are likely dead as well
		v.gate.connector.dropOlder(v.gate.addr(), v.started)
	}
	v.done(outcome)
	return err
}

// turns limits the commands under way to the connections of a pool. go-redis lets
// callers wait for a connection as well, but its error for a deadline that ends this
// wait is the same as for a server that does not answer.
type turns struct {
	free      chan struct{}
	timeout   time.Duration
	waits     *waits
	withdrawn withdrawn
}

// waits counts the waits of all clients of a store.
type waits struct {
	count, timeouts atomic.Uint32
	total           atomic.Int64 // nanoseconds
}

func newTurns(o *Options, w *waits) *turns {
	return &turns{free: make(chan struct{}, o.PoolSize), timeout: o.PoolTimeout, waits: w}
}

// errLittleTime is the outcome of a command that had too little time to show
// whether the server answers.
var errLittleTime = fmt.Errorf("too little time was left: %w", goredis.ErrPoolTimeout)

// errNoTurn is the error of a caller that got no connection in time.
var errNoTurn = fmt.Errorf("all connections are in use: %w", goredis.ErrPoolTimeout)

// take waits for a turn, within pool_timeout and the caller's deadline. It
// reports whether it had to wait.
func (t *turns) take(ctx context.Context) (waited bool, err error) {
	select {
	case t.free <- struct{}{}:
		return false, nil
	default:
	}
	started := time.Now()
	t.waits.count.Add(1)
	timer := time.NewTimer(t.timeout)
	defer timer.Stop()
	defer func() { t.waits.total.Add(int64(time.Since(started))) }()
	select {
	case t.free <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		if ctx.Err() == context.Canceled {
			return true, context.Canceled
		}
	case <-timer.C:
	}
	t.waits.timeouts.Add(1)
	return true, errNoTurn
}

func (t *turns) giveBack() { <-t.free }
