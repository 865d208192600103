package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// A breaker that opened lets one command at a time through to see how its node
// is. Were that left to requests, the first ones after an outage would be
// refused, all but one, however long the node had been back, and without any
// the state would be that of long ago. So nodes with open breakers are asked in
// the background, as soon as their breakers let them be.

// probeKey is a key that nobody writes.
const probeKey = ownPrefix + "probe"

// role tells clients of one node apart.
type role int

const (
	writes role = iota // the store's own client, or one of its nodes
	reads              // a node of the client that reads from replicas
	roles
)

// guarded is a client of one node.
type guarded interface {
	AddHook(hook goredis.Hook)
	Exists(ctx context.Context, keys ...string) *goredis.IntCmd
}

// mend asks the nodes that failed until all answer, and waits for the next
// that fails.
func (s *Store) mend(ctx context.Context) {
	b := s.nodeBreakers
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.opened:
		}
		for {
			failing := b.failing()
			if len(failing) == 0 {
				break
			}
			var asking sync.WaitGroup
			for _, n := range failing {
				asking.Go(func() {
					if b.ask(ctx, n) {
						s.reload() // maybe the node has left the cluster
					}
				})
			}
			asking.Wait()
			select {
			case <-ctx.Done():
				return
			case <-time.After(b.pause()):
			}
		}
	}
}

// pause is between two questions; a breaker that is still open refuses them
// without network.
func (b *breakers) pause() time.Duration {
	return max(5*time.Millisecond, min(100*time.Millisecond, b.options.BreakerCoolDown/4))
}

// ask asks a node for a key, which a node that has lost the others refuses,
// while it answers a ping. It tells whether it was asked in vain. It forgets
// clients that are closed, and a node without clients: it has left the cluster.
func (b *breakers) ask(ctx context.Context, n *breaker) (failed bool) {
	for r := range roles {
		client := b.client(n, r)
		if client == nil {
			continue
		}
		err := client.Exists(ctx, b.options.KeyPrefix+probeKey).Err()
		if !errors.Is(err, goredis.ErrClosed) {
			return !isAnswer(err) && !errors.Is(err, errBreakerOpen)
		}
		b.forget(n, r, client)
	}
	return false
}

func (b *breakers) client(n *breaker, r role) guarded {
	b.mu.Lock()
	defer b.mu.Unlock()
	return n.clients[r]
}

func (b *breakers) forget(n *breaker, r role, client guarded) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n.clients[r] == client {
		n.clients[r] = nil
	}
	if n.clients == [roles]guarded{} {
		delete(b.nodes, n.addr)
	}
}

// failing are the nodes whose breakers are not closed.
func (b *breakers) failing() (nodes []*breaker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.nodes {
		if n.steps.State() != gobreaker.StateClosed {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
