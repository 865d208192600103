package lookuptest

import (
	"context"
	"sync/atomic"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Refusing is a store that carries out no invalidation while Refuse is set.
type Refusing struct {
	cache.Store
	Refuse atomic.Bool
}

// Delete implements [cache.Store].
func (s *Refusing) Delete(ctx context.Context, keys ...string) (int, error) {
	if s.Refuse.Load() {
		return 0, cache.ErrUnavailable
	}
	return s.Store.Delete(ctx, keys...)
}

// DeletePrefix implements [cache.Store].
func (s *Refusing) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	if s.Refuse.Load() {
		return 0, cache.ErrUnavailable
	}
	return s.Store.DeletePrefix(ctx, prefix)
}

// DropTag implements [cache.Store].
func (s *Refusing) DropTag(ctx context.Context, tag string) error {
	if s.Refuse.Load() {
		return cache.ErrUnavailable
	}
	return s.Store.DropTag(ctx, tag)
}
