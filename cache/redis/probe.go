package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

// An open breaker lets one command at a time through after its cool-down. If
// that were the only way to close it, all but one of the first requests after
// an outage would be refused, however long the server had been back. So servers
// with open breakers are probed in the background, each on a new connection: at
// first after a short pause, since most outages are short, and then at growing
// intervals.

const (
	// probeKey is a key that is never written.
	probeKey = ownPrefix + "probe"
	// probePause is the pause before the first probe. It doubles up to the
	// breaker's cool-down, or up to a second.
	probePause = 20 * time.Millisecond
	// steadyAfter is how long a breaker must have been closed before the pauses
	// start from the first again.
	steadyAfter = time.Second
)

// role is what a client of a server is used for.
type role int

const (
	writes role = iota // the store's own client, or one of its nodes
	reads              // a node of the client that reads from replicas
	roles
)

// guarded is a client of one server.
type guarded interface {
	AddHook(hook goredis.Hook)
	Exists(ctx context.Context, keys ...string) *goredis.IntCmd
}

// probe closes the breakers of servers that answer again, until ctx ends.
func (s *Store) probe(ctx context.Context) {
	var probing sync.WaitGroup
	defer probing.Wait()
	var mu sync.Mutex
	busy := make(map[*breaker]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.nodeBreakers.opened:
		}
		for _, n := range s.nodeBreakers.failing() {
			mu.Lock()
			started := busy[n]
			busy[n] = true
			mu.Unlock()
			if started {
				continue
			}
			probing.Go(func() {
				s.probeUntilClosed(ctx, n)
				mu.Lock()
				delete(busy, n)
				mu.Unlock()
				s.nodeBreakers.wake() // it may have opened again
			})
		}
	}
}

// probeUntilClosed probes one server until its breaker is closed or the server
// has left.
func (s *Store) probeUntilClosed(ctx context.Context, n *breaker) {
	b := s.nodeBreakers
	longest := min(time.Second, max(b.options.BreakerCoolDown, probePause))
	pause := probePause
	if clock.Now()-time.Duration(n.closed.Load()) < steadyAfter {
		pause = longest
	}
	for n.steps.Load().State() != gobreaker.StateClosed {
		wait := max(pause/2+rand.N(pause), time.Until(s.connector.nextTry(s.address(n.addr))))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if b.forgetClosed(n) {
			return
		}
		if s.probeServer(ctx, s.address(n.addr)) == nil {
			n.close()
			return
		}
		s.reload() // the node may have left the cluster
		pause = min(longest, 2*pause)
	}
}

// probeServer reads a key from a server. A server that has lost its cluster
// refuses that, although it answers a ping.
func (s *Store) probeServer(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cn, answers, err := s.connector.connect(ctx, addr, false, []string{"EXISTS", s.options.KeyPrefix + probeKey})
	if err != nil {
		return err
	}
	defer cn.Close()
	if err, ok := answers[0].(replyError); ok && !isAnswer(err) {
		return err
	}
	return nil
}

// wake starts the probes of servers with open breakers.
func (b *breakers) wake() {
	select {
	case b.opened <- struct{}{}:
	default:
	}
}

// forgetClosed removes closed clients from a breaker. It returns true if none
// is left: the server has left the cluster.
func (b *breakers) forgetClosed(n *breaker) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes[n.addr] != n {
		return true
	}
	for r, client := range n.clients {
		if client != nil && isClosed(client) {
			n.clients[r] = nil
		}
	}
	if n.clients != [roles]guarded{} {
		return false
	}
	delete(b.nodes, n.addr)
	return true
}

// askClosed marks the context of a command that only finds out whether the
// client is closed.
type askClosed struct{}

// isClosed reports whether a client is closed. It needs no network, because the
// context has ended.
func isClosed(client guarded) bool {
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), askClosed{}, true))
	cancel()
	return errors.Is(client.Exists(ctx, probeKey).Err(), goredis.ErrClosed)
}

// failing returns the breakers that are not closed.
func (b *breakers) failing() (nodes []*breaker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.nodes {
		if n.steps.Load().State() != gobreaker.StateClosed {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
