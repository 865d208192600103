// Making connections to the servers that hold records, for go-redis, trackers
// and probes, with pauses while a server refuses them. All connections to a
// server can be dropped when one of them turns out to be dead.

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

const (
	// A server that refuses connections (wrong password, too many clients) is tried
	// again after a pause, by one connection at a time. The pause grows, but
	// recovery never takes two seconds.
	refusedPause    = time.Second
	refusedPauseMax = 1400 * time.Millisecond
	// parallelHandshakes limits how many connections to one server are being made
	// at a time.
	parallelHandshakes = 8
	// stuckAfter is how much earlier than a successful connection an attempt must
	// have begun to be abandoned.
	stuckAfter = 250 * time.Millisecond
)

// connector makes connections and keeps track of them.
type connector struct {
	ctx     context.Context // ends with the store
	options *Options
	dial    dialFunc
	// connected is called before a connection to a server is used. moved reports
	// that the address led to another server before.
	connected func(addr string, moved bool)
	// admitted is called when a server that refused connections accepts one.
	admitted func(addr string)
	mu       sync.Mutex
	servers  map[string]*server // by address
}

// server is the server at an address.
type server struct {
	addr string
	// runID is the run ID of the server that the newest connection has reached; ""
	// if the server does not report one.
	runID      string
	identified time.Time // when that connection was begun
	conns      map[*conn]struct{}
	handshakes chan struct{} // turns of data connections
	attempts   map[*attempt]struct{}
	refusal    refusal
	// failure is why the server could not be connected to the last time.
	failure  error
	failedAt time.Time
	// nameless reports that the server refuses names of connections.
	nameless bool
}

// attempt is a connection that is being made.
type attempt struct {
	begun   time.Time
	abandon context.CancelCauseFunc
}

// errAbandoned is the error of an attempt that hung while a later one succeeded. It
// makes go-redis try again.
var errAbandoned = fmt.Errorf("connecting: a later connection was made first: %w", net.ErrClosed)

// refusal is the state of a server that refuses connections.
type refusal struct {
	err     error // nil: it does not
	next    time.Time
	pause   time.Duration
	probing bool // a connection is being tried
}

// refusedError says that the server, or a proxy before it, refuses connections.
// It does not implement go-redis' error interface, because go-redis would take
// it for the answer to a command.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

func newConnector(ctx context.Context, o *Options, dial dialFunc) *connector {
	return &connector{ctx: ctx, options: o, dial: dial, connected: func(string, bool) {}, admitted: func(string) {}, servers: make(map[string]*server)}
}

// server returns the server of an address and adds it if it is new. The caller
// holds c.mu.
func (c *connector) server(addr string) *server {
	s, ok := c.servers[addr]
	if !ok {
		s = &server{addr: addr, conns: make(map[*conn]struct{}), attempts: make(map[*attempt]struct{}), handshakes: make(chan struct{}, parallelHandshakes)}
		c.servers[addr] = s
	}
	return s
}

// connect dials a server and shakes hands: it logs in, selects the database,
// asks for the run ID, and sends more commands. It returns the answers to
// those, errors included.
func (c *connector) connect(ctx context.Context, addr string, protocol3 bool, more ...[]string) (*conn, []any, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.DialTimeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	ctx, abandon := context.WithCancelCause(ctx)
	a := &attempt{begun: time.Now(), abandon: abandon}
	c.mu.Lock()
	s := c.server(addr)
	s.attempts[a] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(s.attempts, a)
		c.mu.Unlock()
	}()
	if err := c.admit(s); err != nil {
		return nil, nil, err
	}
	begun := a.begun
	cn, hello, answers, err := c.handshake(ctx, s, protocol3, more)
	if err != nil && errors.Is(context.Cause(ctx), errAbandoned) {
		err = errAbandoned
	}
	c.note(s, err)
	if err != nil {
		return nil, nil, err
	}
	if err := c.arrived(s, cn, begun, hello); err != nil {
		return nil, nil, err
	}
	return cn, answers, nil
}

// connectData is connect for connections that records are read and written
// through. It limits how many are being made at a time.
func (c *connector) connectData(ctx context.Context, addr string, more ...[]string) (*conn, []any, error) {
	c.mu.Lock()
	turns := c.server(addr).handshakes
	c.mu.Unlock()
	patience := time.NewTimer(connectTimeout)
	defer patience.Stop()
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-patience.C: // those that are being made hang
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	return c.connect(ctx, addr, false, more...)
}

// admit returns an error if the server has just refused a connection.
func (c *connector) admit(s *server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &s.refusal
	if r.err == nil {
		return nil
	}
	if r.probing || time.Now().Before(r.next) {
		return r.err
	}
	r.probing = true
	return nil
}

// note notes whether the server refuses connections.
func (c *connector) note(s *server, err error) {
	if c.noteRefusal(s, err) {
		c.admitted(s.addr)
	}
}

func (c *connector) noteRefusal(s *server, err error) (admitted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &s.refusal
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		if !time.Now().Before(r.next) { // otherwise another connection was refused at the same time
			r.pause = min(refusedPauseMax, max(refusedPause, r.pause*5/4))
			r.next = time.Now().Add(r.pause + rand.N(r.pause/10))
		}
		r.err = refused
	case err == nil:
		admitted = r.err != nil
		*r = refusal{}
	case r.err != nil:
		r.next = time.Now().Add(r.pause)
	}
	if err != nil {
		s.noteFailure(err)
	}
	r.probing = false
	return admitted
}

// nextTry returns when a server that refuses connections may be tried again.
func (c *connector) nextTry(addr string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server(addr).refusal.next
}

// arrived registers a connection with the run ID of its server. If the address
// led to another server before, the connections to that one are dropped.
func (c *connector) arrived(s *server, cn *conn, begun time.Time, runID string) error {
	c.mu.Lock()
	if runID != s.runID && begun.Before(s.identified) {
		c.mu.Unlock()
		_ = cn.Conn.Close()
		return fmt.Errorf("connecting to %s: another server has taken over the address", s.addr)
	}
	moved := runID != s.runID && !s.identified.IsZero()
	s.runID = runID
	if begun.After(s.identified) {
		s.identified = begun
	}
	var old []*conn
	if moved {
		for other := range s.conns {
			old = append(old, other)
		}
	}
	for a := range s.attempts {
		if begun.Sub(a.begun) > stuckAfter {
			a.abandon(errAbandoned) // it was begun while the network was down
		}
	}
	cn.made, cn.server, cn.runID = begun, s, runID
	s.conns[cn] = struct{}{}
	c.mu.Unlock()
	c.connected(s.addr, moved)
	for _, other := range old {
		other.drop()
	}
	return nil
}

// dropOlder drops the connections to a server that were made before a failure
// and have received nothing since.
func (c *connector) dropOlder(addr string, failed time.Time) {
	c.drop(addr, func(cn *conn) bool { return cn.made.Before(failed) && cn.lastRead.Load() < int64(clock.Of(failed)) })
}

func (c *connector) drop(addr string, which func(*conn) bool) {
	c.mu.Lock()
	var dropped []*conn
	for cn := range c.server(addr).conns {
		if which(cn) {
			dropped = append(dropped, cn)
		}
	}
	c.mu.Unlock()
	for _, cn := range dropped {
		cn.drop()
	}
}

// dropOthers drops the connections to all servers except one.
func (c *connector) dropOthers(addr string) {
	c.mu.Lock()
	var others []string
	for other := range c.servers {
		if other != addr {
			others = append(others, other)
		}
	}
	c.mu.Unlock()
	for _, other := range others {
		c.drop(other, func(*conn) bool { return true })
	}
}

// dialer makes connections for go-redis.
func (c *connector) dialer() dialFunc {
	return neverFails(func(ctx context.Context, _, addr string) (net.Conn, error) {
		cn, _, err := c.connectData(ctx, addr)
		if err != nil {
			return nil, err
		}
		return cn, nil
	})
}

// masterDialer makes connections to the master that the sentinels name.
func (c *connector) masterDialer(s *sentinels) dialFunc {
	return neverFails(func(ctx context.Context, _, _ string) (net.Conn, error) {
		m, err := s.master(ctx)
		if err != nil {
			return nil, fmt.Errorf("asking the sentinels for the master: %w", err)
		}
		cn, answers, err := c.connectData(ctx, m.addr, []string{"INFO", "replication"})
		if err != nil {
			return nil, err
		}
		if text, ok := answers[0].(string); ok && parseInfo(text)["role"] == "slave" {
			_ = cn.Close()
			return nil, fmt.Errorf("connecting to the master: %s is a replica", m.addr)
		}
		return cn, nil
	})
}

// neverFails hides failed dials from go-redis, which would otherwise dial once
// a second in a goroutine of its own. go-redis gets a connection that fails
// when it is used.
func neverFails(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		cn, err := dial(ctx, network, addr)
		if err != nil {
			// go-redis unwraps the error once, which would cost it the address
			return failedConn{err: fmt.Errorf("%w", asLocal(err))}, nil
		}
		return cn, nil
	}
}
