package cache_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestBytesAreFormattedAsByRedis(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{
		0: "0B", 1023: "1023B", 1 << 10: "1.00K", 1<<20 + 1<<19: "1.50M", 5 << 30: "5.00G", 3 << 40: "3.00T", 3 << 50: "3072.00T",
	} {
		require.Equal(t, want, cache.FormatBytes(bytes))
	}
}
