package cache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// hanging is a store that answers nothing.
type hanging struct{ cache.Store }

func (hanging) wait(ctx context.Context) error { <-ctx.Done(); return cache.ErrUnavailable }

func (h hanging) Get(ctx context.Context, _ string) (cache.Entry, error) {
	return cache.Entry{}, h.wait(ctx)
}
func (h hanging) SetMany(ctx context.Context, _ []cache.Item) error    { return h.wait(ctx) }
func (h hanging) Delete(ctx context.Context, _ ...string) (int, error) { return 0, h.wait(ctx) }
func (h hanging) DropTag(ctx context.Context, _ string) error          { return h.wait(ctx) }

func TestDirectOperationsEndWithTheLookupTimeout(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(ctx context.Context, c *cache.Cache) error{
		"get":    func(ctx context.Context, c *cache.Cache) error { _, err := c.Get(ctx, "k"); return err },
		"exists": func(ctx context.Context, c *cache.Cache) error { _, err := c.Exists(ctx, "k"); return err },
		"set": func(ctx context.Context, c *cache.Cache) error {
			return c.Set(ctx, "k", cache.AbsentRecord(), time.Hour)
		},
		"delete":   func(ctx context.Context, c *cache.Cache) error { _, err := c.Delete(ctx, "k"); return err },
		"drop tag": func(ctx context.Context, c *cache.Cache) error { return c.DropTag(ctx, "t") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, hanging{newStore(t)})
			const timeout = 20 * time.Millisecond
			newLookup(t, c, cache.LookupOptions{LookupTimeout: timeout})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			started := time.Now()
			require.ErrorIs(t, do(ctx, c), cache.ErrUnavailable)
			require.GreaterOrEqual(t, time.Since(started), timeout)
			require.NoError(t, ctx.Err())
		})
	}
}
