package cache_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestJoinedErrorsSayEachReasonOnce(t *testing.T) {
	t.Parallel()
	refused := errors.New("dial tcp 127.0.0.1:1: connection refused")
	down := func(doing string) error { return fmt.Errorf("%s: %w: %w", doing, cache.ErrUnavailable, refused) }
	for name, c := range map[string]struct {
		errs []error
		want string // "" for none
	}{
		"none":         {[]error{nil, nil}, ""},
		"one":          {[]error{nil, errExpected}, "expected"},
		"one twice":    {[]error{errExpected, errExpected}, "expected"},
		"two":          {[]error{errExpected, refused}, "expected; dial tcp 127.0.0.1:1: connection refused"},
		"one reason":   {[]error{down("deleting"), down("dropping a tag")}, down("deleting").Error()},
		"bare reasons": {[]error{cache.ErrUnavailable, cache.ErrUnavailable}, "store unavailable"},
		"pending": {
			[]error{&cache.PendingError{Undone: 2, Err: down("deleting")}, nil, &cache.PendingError{Undone: 1, Err: down("dropping a tag")}},
			"3 invalidations are pending: " + down("deleting").Error(),
		},
		"pending for two reasons": {
			[]error{&cache.PendingError{Undone: 2, Err: down("deleting")}, &cache.PendingError{Undone: 1, Err: errExpected}},
			"3 invalidations are pending: " + down("deleting").Error() + "; expected",
		},
	} {
		err := cache.JoinErrors(c.errs...)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.EqualError(t, err, c.want, name)
		for _, one := range c.errs {
			if errors.Is(one, cache.ErrUnavailable) {
				require.ErrorIs(t, err, cache.ErrUnavailable, name)
			}
		}
	}
}
