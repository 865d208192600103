package cache_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestFamiliesHaveTheKeysThatOthersShare(t *testing.T) {
	t.Parallel()
	want := map[string]struct {
		key string
		ttl time.Duration
	}{
		"file_meta":       {"file:meta:x", time.Hour},
		"session":         {"session:user:x", 24 * time.Hour},
		"upload_progress": {"temp:upload:progress:x", 10 * time.Minute},
	}
	require.Len(t, cache.FamilyNames(), len(want))
	for _, family := range cache.Families() {
		template, err := cache.ParseKeyTemplate(family.KeyTemplate)
		require.NoError(t, err)
		require.Equal(t, want[family.Name].key, template.Key("x"))
		require.Equal(t, want[family.Name].ttl, family.TTL)
	}
}

func TestFamilyOfAKey(t *testing.T) {
	t.Parallel()
	families := append(cache.Families(), cache.Family{Name: "suffixed", KeyTemplate: "a:{id}:z"})
	for _, test := range []struct{ prefix, key, want string }{
		{"", "file:meta:1", "file_meta"},
		{"", "session:user:a:b", "session"},
		{"", "temp:upload:progress:1", "upload_progress"},
		{"app:", "app:file:meta:1", "file_meta"},
		{"", "a:1:z", "suffixed"},
		{"", "a::z", ""},
		{"", "a:z", ""},
		{"", "file:meta:", ""},
		{"", "file:met", ""},
		{"", "other", ""},
		{"", "", ""},
		{"app:", "file:meta:1", ""},
		{"app:", "app:other", ""},
	} {
		family, ok := cache.FamilyOf(families, test.prefix, test.key)
		require.Equal(t, test.want, family.Name, test.key)
		require.Equal(t, test.want != "", ok, test.key)
	}
}

func TestKeyTemplates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ template, id, want string }{
		{"a:{id}", "x", "a:x"},
		{"{id}", "x", "x"},
		{"{id}:z", "x", "x:z"},
		{"{id}:{id}", "x", "x:x"},
		{"{{id}}", "x", "{x}"},
		{"a:{id}", "{id}", "a:{id}"},
		{"é{id}", "日本", "é日本"},
	} {
		template, err := cache.ParseKeyTemplate(test.template)
		require.NoError(t, err)
		require.Equal(t, test.want, template.Key(test.id))
	}
	for _, bad := range []string{"", "a", "{ID}", "{id", "a\n{id}", "{id}\x00", "\xff{id}", "\u0085{id}"} {
		_, err := cache.ParseKeyTemplate(bad)
		require.Error(t, err, "%q", bad)
	}
}

func TestMalformedIdentitiesAreRefused(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"", "x", "a b", "é", "日本語", "🔑", "{id}", `*?[\`, "\u2028", "\ufeff", strings.Repeat("x", cache.MaxIdentity),
	} {
		require.NoError(t, cache.CheckIdentity(id), "%q", id)
	}
	for _, id := range []string{
		"\x00", "secret\n", "\r", "\t", "\x1f", "\x7f", "secret\u0080", "\u009f", "\xff", "é\xc3", "\xed\xa0\x80",
		strings.Repeat("x", cache.MaxIdentity+1),
	} {
		err := cache.CheckIdentity(id)
		require.ErrorIs(t, err, cache.ErrMalformedIdentity, "%q", id)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestLongIdentitiesAreAlwaysHashed(t *testing.T) {
	t.Parallel()
	hash := func(id string) string {
		sum := sha256.Sum256([]byte(id))
		return hex.EncodeToString(sum[:])
	}
	short, long, taken := strings.Repeat("x", 512), strings.Repeat("x", 513), "sha256:"+hash("x")
	require.Equal(t, short, cache.KeyIdentity(short, false))
	require.Equal(t, "sha256:"+hash(long), cache.KeyIdentity(long, false))
	require.Equal(t, hash(long), cache.KeyIdentity(long, true))
	require.Equal(t, "sha256:"+hash(taken), cache.KeyIdentity(taken, false))
	require.Equal(t, hash(taken), cache.KeyIdentity(taken, true))
	require.Equal(t, "sha256:"+hash("sha256:"), cache.KeyIdentity("sha256:", false))
	require.Equal(t, "sha256", cache.KeyIdentity("sha256", false))
	require.Equal(t, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", cache.KeyIdentity("x", true))
}

func TestPartsOfIdentitiesAreJoined(t *testing.T) {
	t.Parallel()
	for want, parts := range map[string][]string{
		"":              nil,
		"a:b%3A":        {"a:b%3A"},
		"a:b":           {"a", "b"},
		"alice%3Ax:y":   {"alice:x", "y"},
		"alice:x%3Ay":   {"alice", "x:y"},
		"a%253Ab:%25:c": {"a%3Ab", "%", "c"},
		"::":            {"", "", ""},
	} {
		require.Equal(t, want, cache.JoinIdentity(parts))
	}
}

// FuzzJoinIdentity looks for two lists of parts that make one identity, and
// for one that the parts cannot be found in again.
func FuzzJoinIdentity(f *testing.F) {
	f.Add("alice:x\ny", "alice\nx:y")
	f.Add("a%3A\nb", "a:\nb")
	f.Add("\n", ":")
	f.Add("%\n25\n:", "%25\n\n")
	f.Fuzz(func(t *testing.T, one, two string) {
		a, b := strings.Split(one, "\n"), strings.Split(two, "\n")
		if len(a) == len(b) {
			require.Equal(t, one == two, cache.JoinIdentity(a) == cache.JoinIdentity(b))
		}
		if len(a) < 2 {
			require.Equal(t, one, cache.JoinIdentity(a))
			return
		}
		joined := strings.Split(cache.JoinIdentity(a), ":")
		require.Len(t, joined, len(a))
		for i, part := range joined {
			unescaped, err := url.PathUnescape(part)
			require.NoError(t, err)
			require.Equal(t, a[i], unescaped)
		}
	})
}

// FuzzKey looks for identities that share a key, or put into it what no key
// may have.
func FuzzKey(f *testing.F) {
	f.Add("a:{id}", "x", "y", false)
	f.Add("{id}:{id}", "a:a", "a", false)
	f.Add("{id}{id}", "aa", "a", false)
	f.Add("{{id}}", "{id}", "}{", true)
	f.Add("k:{id}:{id}", strings.Repeat("x", 512), strings.Repeat("x", 513), false)
	f.Add("k:{id}", "sha256:", "sha256:"+strings.Repeat("0", 64), false)
	f.Add("k:{id}", strings.Repeat("x", 513), "sha256:"+cache.KeyIdentity(strings.Repeat("x", 513), true), false)
	f.Add("é{id}", "\u0085", "\x00", false)
	f.Fuzz(func(t *testing.T, text, a, b string, hash bool) {
		template, err := cache.ParseKeyTemplate(text)
		if err != nil || cache.CheckIdentity(a) != nil || cache.CheckIdentity(b) != nil {
			return
		}
		keyA := template.Key(cache.KeyIdentity(a, hash))
		keyB := template.Key(cache.KeyIdentity(b, hash))
		require.Equal(t, a == b, keyA == keyB)
		require.True(t, utf8.ValidString(keyA))
		require.Equal(t, -1, strings.IndexFunc(keyA, unicode.IsControl))
	})
}
