package redis

import (
	"context"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// control measures, beside what a test measures, how long after a command its
// client has the answer other clients get the message that the command brought
// about: the server wakes, writes to both, and both readers wake. A report of a
// write takes the same way.
type control struct {
	noise
}

// startControl measures with as many listeners as there are nodes, until stop.
func startControl(t *testing.T, server *redistest.Server, listeners int) *control {
	const channel = "control"
	c := new(control)
	ctx, cancel := context.WithCancel(context.Background())
	client := server.Client()
	subscriptions := make([]*goredis.PubSub, listeners)
	received := make([]chan time.Time, listeners)
	var group sync.WaitGroup
	for i := range listeners {
		messages, arrivals := client.Subscribe(ctx, channel), make(chan time.Time, 1)
		_, err := messages.Receive(ctx) // it is subscribed
		require.NoError(t, err)
		subscriptions[i], received[i] = messages, arrivals
		group.Go(func() {
			defer close(arrivals)
			for {
				if _, err := messages.ReceiveMessage(ctx); err != nil {
					return
				}
				select {
				case arrivals <- time.Now():
				case <-ctx.Done():
					return
				}
			}
		})
	}
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Millisecond):
			}
			if client.Publish(ctx, channel, "").Err() != nil {
				return
			}
			answered := time.Now()
			for _, arrivals := range received {
				arrived, ok := <-arrivals
				if !ok {
					return
				}
				c.mu.Lock()
				c.late = append(c.late, max(0, arrived.Sub(answered)))
				c.mu.Unlock()
			}
		}
	})
	c.stop = sync.OnceFunc(func() {
		cancel()
		for _, messages := range subscriptions {
			_ = messages.Close() // which ends its reading; the context does not
		}
		group.Wait()
	})
	t.Cleanup(c.stop)
	return c
}
