package redis

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

var leaseKeyCases = []string{
	"session:user:1", "{a}b", "a{b}c", "a{b}{c}", "{}", "{}{a}", "a{}b", "}", "{", "}{", "a}b{c", "a}b{c}", "{a", "a}",
	"{{a}}", "foo{{bar}}zap", "é{ü}", "\x00{\xff}", "lease:x", "lease:{x}", "{lease:x}", strings.Repeat("}", 100),
}

func TestLeasesHashToTheSlotOfTheirRecord(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t, "--cluster-enabled", "yes").Client()
	for _, prefix := range []string{"", "app:", "{app}:", "app{", "}app"} {
		l := newLeaseKeys(prefix)
		for _, key := range leaseKeyCases {
			want, err := client.ClusterKeySlot(t.Context(), key).Result()
			require.NoError(t, err)
			require.EqualValues(t, want, slotOf(key), key)
			got, err := client.ClusterKeySlot(t.Context(), l.of(key)).Result()
			require.NoError(t, err)
			require.Equal(t, want, got, l.of(key))
		}
	}
}

func TestEachSlotHasATag(t *testing.T) {
	t.Parallel()
	l := newLeaseKeys("")
	for slot := range slotCount {
		require.Equal(t, slot, slotOf(l.slotTag(slot)))
		require.LessOrEqual(t, len(l.slotTag(slot)), 4)
	}
}

func FuzzLeaseKey(f *testing.F) {
	for _, key := range leaseKeyCases {
		f.Add("", key)
		f.Add("app:", key)
	}
	shared := newLeaseKeys("") // the table is made once
	f.Fuzz(func(t *testing.T, keyPrefix, key string) {
		l := newLeaseKeys(keyPrefix)
		l.slotTags = shared.slotTags
		lease := l.of(key)
		require.Equal(t, slotOf(key), slotOf(lease))
		require.True(t, l.has(lease))
		for i := 1; i <= len(key); i++ {
			require.True(t, l.mayBe(lease, key[:i]), "a purge of %q ends %q", key[:i], lease)
		}
	})
}
