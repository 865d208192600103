package lookup

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two templates overlap where some identities and placeholders give both the
// same key.
func TestTemplatesOverlapWhereTheyCanMakeOneKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"session:user:{id}", "session:user:{id}", true},
		{"session:user:{id}", "session:user:admin:{id}", true},
		{"session:user:{id}", "session:admin:{id}", false},
		{"session:user:{id}", "file:meta:{id}", false},
		{"a:{id}:b", "a:x:{id}", true},
		{"a:{id}:b", "a:{id}:c", false},
		{"a:{http.request.host}:{id}", "a:{id}", true},
		{"{env.HOME}a:{id}", "{env.HOME}b:{id}", false},
		{"x{id}", "y{id}", false},
		{"x:{id.1}:{id.2}", "x:{id}", true},
	} {
		a, err := newKeyTemplate("p:", c.a, 2, false)
		require.NoError(t, err, c.a)
		b, err := newKeyTemplate("p:", c.b, 2, false)
		require.NoError(t, err, c.b)
		require.Equal(t, c.want, a.overlaps(&b), "%s and %s", c.a, c.b)
		require.Equal(t, c.want, b.overlaps(&a), "%s and %s", c.b, c.a)
	}
}

// No two lists of values have one hash as text, whatever is in them.
func TestValuesInAKeyDoNotRunIntoEachOther(t *testing.T) {
	t.Parallel()
	require.NotEqual(t, hashValues([]string{"ab", "c"}), hashValues([]string{"a", "bc"}))
	require.NotEqual(t, hashValues([]string{"", "a"}), hashValues([]string{"a", ""}))
	require.NotEqual(t, hashValues([]string{"a"}), hashValues([]string{"a", ""}))
}
