package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// canaryWait is how long the report of a canary may take.
	canaryWait = time.Second
	// canaryTTL is the TTL of a canary. It is extended every canaryExtend, so it
	// expires only after its writer is gone.
	canaryTTL    = 5 * time.Minute
	canaryExtend = time.Minute
	// pauses before the next attempt to write a canary
	canaryRetryMin = 100 * time.Millisecond
	canaryRetryMax = time.Second
)

// canary is a key that is written through the connections that records are
// written through. A server that reports it to a tracker reports what those
// connections write. If the key later has another value although no write was
// reported, the database was exchanged (SWAPDB).
type canary struct {
	key, token string
	// client is the client that records are written through.
	client goredis.Cmdable
	// master reports whether the tracked server is the one that the canary is
	// written to, so that its report cannot be delayed by replication.
	master func() bool
	// readBack is set where SWAPDB is possible: not in a cluster.
	readBack bool

	mu      sync.Mutex
	awaited chan struct{} // closed when the key is reported; nil: not awaited
	valid   bool          // the key has the token
}

// newCanary chooses a token that is valid JSON, as all values are.
func newCanary(client goredis.Cmdable, key string, master func() bool) *canary {
	return &canary{client: client, key: key, token: `"` + rand.Text() + `"`, master: master}
}

// reported is called with the keys that were written.
func (c *canary) reported(keys []string) {
	for _, key := range keys {
		if key != c.key {
			continue
		}
		c.mu.Lock()
		if c.awaited != nil {
			close(c.awaited)
			c.awaited = nil
		}
		c.mu.Unlock()
	}
}

// write writes the key. The channel is closed when the write is reported.
func (c *canary) write(ctx context.Context) (reported <-chan struct{}, err error) {
	awaited := make(chan struct{})
	c.mu.Lock()
	c.awaited, c.valid = awaited, false
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, ownWork{}, true), canaryWait)
	defer cancel()
	return awaited, c.client.Set(ctx, c.key, c.token, canaryTTL).Err()
}

// extend extends the TTL of the key. A failure is noticed when the key has
// expired.
func (c *canary) extend(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, ownWork{}, true), canaryWait)
	defer cancel()
	_ = c.client.PExpire(ctx, c.key, canaryTTL).Err()
}

func (c *canary) setValid(valid bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.valid = valid
}

func (c *canary) isValid() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.valid
}

// canaryResult is the result of a canary.
type canaryResult int

const (
	canaryReported   canaryResult = iota // the server reports writes
	canaryUnreported                     // written but not reported
	canaryRefused                        // the server refuses writes for now, so there is nothing to report
	canaryNever                          // the server will always refuse the write
	canaryFailed                         // no answer
)

// try writes the key and waits for the report. It returns when the key was
// written.
func (c *canary) try(ctx context.Context) (result canaryResult, written time.Time, err error) {
	reported, err := c.write(ctx)
	written = time.Now()
	var answer goredis.Error
	switch {
	case errors.Is(asUnsupported(err), errUnsupported):
		return canaryNever, written, err
	case errors.As(err, &answer):
		return canaryRefused, written, err
	case err != nil:
		return canaryFailed, written, err
	}
	select {
	case <-reported:
		c.setValid(true)
		return canaryReported, written, nil
	case <-time.After(canaryWait):
		return canaryUnreported, written, nil
	case <-ctx.Done():
		return canaryFailed, written, ctx.Err()
	}
}
