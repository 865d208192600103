package cachetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func listingTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"scan lists every key with the prefix":                testScan,
		"scan takes the prefix by the letter":                 testScanLiteral,
		"scan lists keys that stay while others go":           testScanWhileChanging,
		"scan lists no leases":                                testScanLeases,
		"scan of nothing ends":                                testScanNothing,
		"records are listed as they are":                      testRecords,
		"thousands of records are listed while others change": testRecordsWhileChanging,
		"delete by prefix drops what begins with it":          testDeletePrefix,
		"delete by prefix takes the prefix by letter":         testDeletePrefixLiteral,
		"delete by prefix without a prefix is an error":       testDeletePrefixEmpty,
		"delete by prefix drops thousands and the rest stays": testDeletePrefixMany,
	}
}

func (f *fixture) setNumbered(t *testing.T, name string, n int) []string {
	t.Helper()
	keys := make([]string, n)
	for i := range keys {
		keys[i] = f.key(fmt.Sprintf("%s%05d", name, i))
		f.set(t, keys[i], `{"n":1}`)
	}
	return keys
}

func testScan(t *testing.T, f *fixture) {
	keys := f.setNumbered(t, "a:", 250)
	f.setNumbered(t, "b:", 30)
	for _, limit := range []int{1, 7, 100, 250, 1000} {
		require.Equal(t, keys, f.scan(t, f.key("a:"), limit), "limit %d", limit)
	}
	require.Len(t, f.scan(t, f.key(""), 100), 280)
	require.Equal(t, keys[:1], f.scan(t, keys[0], 10), "a whole key is a prefix of itself")
}

func testScanLiteral(t *testing.T, f *fixture) {
	keys := awkward(f.key(""))
	for _, key := range keys {
		f.set(t, key, `{"n":1}`)
	}
	for _, key := range keys {
		require.Contains(t, f.scan(t, key, 100), key, "as its own prefix: %q", key)
	}
	f.set(t, f.key("glob*x"), `{"n":1}`)
	f.set(t, f.key("globbed x"), `{"n":1}`)
	require.Equal(t, []string{f.key("glob*x")}, f.scan(t, f.key("glob*"), 100))
}

func testScanWhileChanging(t *testing.T, f *fixture) {
	stay := f.setNumbered(t, "stay", 200)
	leave := f.setNumbered(t, "leave", 200)
	var seen []string
	cursor := ""
	for page := 0; ; page++ {
		keys, next, err := f.Scan(f.ctx, f.key(""), cursor, 10)
		require.NoError(t, err)
		seen = append(seen, keys...)
		if next == "" {
			break
		}
		cursor = next
		if len(leave) > 10 {
			_, err = f.Delete(f.ctx, leave[:10]...)
			require.NoError(t, err)
			leave = leave[10:]
		}
		f.set(t, f.key(fmt.Sprintf("new%d", page)), `{"n":1}`)
		f.set(t, stay[page%len(stay)], `{"n":2}`)
	}
	for _, key := range stay {
		require.Contains(t, seen, key)
	}
}

func testScanLeases(t *testing.T, f *fixture) {
	f.lease(t, f.key("a"), nil)
	r := f.set(t, f.key("b"), `{"n":1}`)
	f.lease(t, f.key("b"), r)
	require.Equal(t, []string{f.key("b")}, f.scan(t, f.key(""), 10))
	n, err := f.DeletePrefix(f.ctx, f.key(""))
	require.NoError(t, err)
	require.Equal(t, 1, n, "leases are no records")
}

func testScanNothing(t *testing.T, f *fixture) {
	require.Empty(t, f.scan(t, f.key("nothing"), 10))
}

func testDeletePrefix(t *testing.T, f *fixture) {
	f.setNumbered(t, "a:", 20)
	rest := f.setNumbered(t, "ab:", 5)
	n, err := f.DeletePrefix(f.ctx, f.key("a:"))
	require.NoError(t, err)
	require.Equal(t, 20, n)
	require.Equal(t, rest, f.scan(t, f.key(""), 100))
	n, err = f.DeletePrefix(f.ctx, f.key("a:"))
	require.NoError(t, err)
	require.Zero(t, n)
}

func testDeletePrefixLiteral(t *testing.T, f *fixture) {
	keys := awkward(f.key(""))
	for _, key := range keys {
		f.set(t, key, `{"n":1}`)
	}
	left := slices.Clone(keys)
	for _, key := range keys {
		if !slices.Contains(left, key) {
			continue // gone with a shorter one
		}
		n, err := f.DeletePrefix(f.ctx, key)
		require.NoError(t, err)
		before := len(left)
		left = slices.DeleteFunc(left, func(k string) bool { return len(k) >= len(key) && k[:len(key)] == key })
		require.Equal(t, before-len(left), n, "%q", key)
		got, err := f.GetMany(f.ctx, left)
		require.NoError(t, err)
		for i := range got {
			require.NotNil(t, got[i].Record, "%q went with %q", left[i], key)
		}
	}
}

func testDeletePrefixEmpty(t *testing.T, f *fixture) {
	f.set(t, f.key("a"), `{"n":1}`)
	_, err := f.DeletePrefix(f.ctx, "")
	require.Error(t, err)
	require.NotEmpty(t, f.text(t, f.key("a")))
}

func testDeletePrefixMany(t *testing.T, f *fixture) {
	f.setNumbered(t, "a:", 3000)
	rest := f.setNumbered(t, "b:", 10)
	n, err := f.DeletePrefix(f.ctx, f.key("a:"))
	require.NoError(t, err)
	require.Equal(t, 3000, n)
	require.Equal(t, rest, f.scan(t, f.key(""), 1000))
}

// records lists the texts of all records with the prefix, by key.
func (f *fixture) records(t *testing.T, prefix string) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for listed, err := range f.Records(f.ctx, prefix) {
		require.NoError(t, err)
		require.NoError(t, listed.Err)
		require.InDelta(t, ttl, listed.TTL(time.Now()), float64(time.Minute))
		texts[listed.Key] = listed.Record.Text()
	}
	return texts
}

func testRecords(t *testing.T, f *fixture) {
	require.Empty(t, f.records(t, f.key("")))
	want := make(map[string]string)
	for i, key := range awkward(f.key("")) {
		want[key] = fmt.Sprintf("{\"n\" :%d}\n", i)
		f.set(t, key, want[key])
		require.Equal(t, want[key], f.records(t, key)[key], "as its own prefix: %q", key)
	}
	f.lease(t, f.key("leased"), nil)
	maps.DeleteFunc(want, func(key, _ string) bool { return !strings.HasPrefix(key, f.key("")) })
	require.Equal(t, want, f.records(t, f.key("")))

	require.NoError(t, f.Set(f.ctx, f.key("brief"), record(t, `{}`), short))
	f.gone(t, f.key("brief"))
	require.Equal(t, want, f.records(t, f.key("")), "what has expired is not listed")
	for _, err := range f.Records(f.ctx, f.key("")) {
		require.NoError(t, err)
		break // a reader may leave early
	}
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	var err error
	for _, err = range f.Records(ctx, f.key("")) {
		if err != nil {
			break
		}
	}
	require.Error(t, err, "a list that is not whole says so")
}

func testRecordsWhileChanging(t *testing.T, f *fixture) {
	stay := f.setNumbered(t, "stay", 2500)
	leave := f.setNumbered(t, "leave", 500)
	seen := make(map[string]bool)
	for listed, err := range f.Records(f.ctx, f.key("")) {
		require.NoError(t, err)
		if seen[listed.Key] = true; len(leave) > 0 {
			_, err = f.Delete(f.ctx, leave[0])
			require.NoError(t, err)
			leave = leave[1:]
			f.set(t, f.key(fmt.Sprintf("new%d", len(leave))), `{"n":1}`)
		}
	}
	for _, key := range stay {
		require.True(t, seen[key], key)
	}
}
