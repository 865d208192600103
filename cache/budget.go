package cache

import (
	"context"
	"time"
)

// budget is the time that one lookup may still wait for the store, over all
// its round trips.
type budget struct{ left time.Duration }

// spend runs one round trip within the budget. The end of ctx's request does
// not cut it short: a connection that is given up in mid-answer is lost.
func (b *budget) spend(ctx context.Context, trip func(context.Context) error) error {
	if b.left <= 0 {
		return ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.left)
	defer cancel()
	started := time.Now()
	err := trip(ctx)
	b.left -= time.Since(started)
	return err
}
