package lookup

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesAreSortedWithNumbersByValue(t *testing.T) {
	t.Parallel()
	want := []string{
		"", "1", "02", "2a", "10", "a", "a1", "a1b2", "a1b10", "a2", "a:9", "a:10", "a:10-2", "a:10-10",
		"a:99999999999999999999998", "a:99999999999999999999999", "b",
	}
	for range 50 {
		got := slices.Clone(want)
		rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		slices.SortFunc(got, CompareNames)
		require.Equal(t, want, got)
	}
	for _, a := range want {
		for _, b := range want {
			require.Equal(t, CompareNames(a, b), -CompareNames(b, a), "%q %q", a, b)
			require.Equal(t, a == b, CompareNames(a, b) == 0, "%q %q", a, b)
		}
	}
	require.NotZero(t, CompareNames("a01", "a1"), "different names are never equal")
}
