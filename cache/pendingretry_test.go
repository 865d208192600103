package cache_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// partly is a store that carries out no invalidation at first, and later all but
// those of one of its servers.
type partly struct {
	refusing
	lost func(name string) bool
}

func (s *partly) Delete(ctx context.Context, keys ...string) (int, error) {
	if slices.ContainsFunc(keys, s.lost) {
		return 0, cache.ErrUnavailable
	}
	return s.refusing.Delete(ctx, keys...)
}

func (s *partly) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	if s.lost(prefix) {
		return 0, cache.ErrUnavailable
	}
	return s.refusing.DeletePrefix(ctx, prefix)
}

func (s *partly) DropTag(ctx context.Context, tag string) error {
	if s.lost(cache.TagName(tag)) {
		return cache.ErrUnavailable
	}
	return s.refusing.DropTag(ctx, tag)
}

// Some invalidations can never be carried out, such as those on a server of a cluster
// that stays away. The others are not left undone because of them.
func TestInvalidationsThatFailDoNotKeepOthersFromBeingCarriedOut(t *testing.T) {
	t.Parallel()
	const each = 120 // of which one in three cannot be carried out
	lost := make(map[string]bool)
	name := func(kind string, i int) string {
		name := fmt.Sprintf("%s:%d", kind, i)
		if i%3 == 0 {
			lost[name], lost[cache.TagName(name)] = true, true
		}
		return name
	}
	store := &partly{refusing: refusing{Store: newStore(t)}, lost: func(name string) bool { return lost[name] }}
	c := newCache(t, store)
	store.refuse.Store(true)
	var keys []string
	for i := range each {
		keys = append(keys, name("session", i))
	}
	_, err := c.Delete(t.Context(), keys...)
	require.Error(t, err)
	for i := range each {
		require.Error(t, c.DropTag(t.Context(), name("user", i)))
	}
	for i := range 9 {
		_, err := c.DeletePrefix(t.Context(), name("prefix", i))
		require.Error(t, err)
	}
	require.Equal(t, 2*each+9, c.Pending().Total())

	store.refuse.Store(false)
	require.Eventually(t, func() bool {
		p := c.Pending()
		return p.Keys == each/3 && p.Tags == each/3 && p.Prefixes == 3
	}, 30*time.Second, time.Millisecond)
	require.False(t, c.Pending().Since.IsZero())
}
