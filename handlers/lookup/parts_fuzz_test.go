package lookup

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// FuzzPartsNeverRunIntoEachOther looks for two requests that differ in a part of
// the identity, or in another value of the key, and share a key.
func FuzzPartsNeverRunIntoEachOther(f *testing.F) {
	const long = cache.MaxIdentity
	for _, seed := range [][6]string{
		{"alice:x", "y", "h", "alice", "x:y", "h"}, {"a-b", "c", "h", "a", "b-c", "h"}, {"a", "b", "c", "a", "b:c", ""}, {"a%3A", "b", "", "a:", "b", ""},
		{"a%2D", "b", "", "a-", "b", ""}, {"é", "b", "", "", "éb", ""}, {"", "a", "b", "a", "", "b"}, {"a/b", "c", "d", "a", "b/c", "d"},
		{strings.Repeat("x", 513), "y", "", "sha256:" + cache.KeyIdentity(strings.Repeat("x", 513), true), "y", ""}, {strings.Repeat("x", long), "y", "z", "y", "x", "z"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5])
	}
	templates := []string{
		"s:{id}", "s:{id.1}:{id.2}", "s:{id.2}-{id.1}", "s:{id.1}/{id.2}/{http.request.host}", "s:{http.request.host}é{id.1}%{id.2}", "s:{id.1}:{http.request.host}:{id.2}",
		"s:{id.1}-:{id.2}", "s:{id.1}--{id.2}", "s:{id.1}-{id.1}-{id.2}", "s:{http.request.host}-{id}", "s:{id}-{http.request.host}",
	}
	f.Fuzz(func(t *testing.T, a1, a2, aHost, b1, b2, bHost string) {
		a, b := []string{a1, a2}, []string{b1, b2}
		for _, text := range templates {
			for _, hash := range []bool{false, true} {
				l := Lookup{Key: text, HashID: &hash, ID: Identity{"{a}", "{b}"}, policy: &Policy{KeyPrefix: "p:"}}
				require.NoError(t, l.provisionKey(cache.Family{}))
				keyOf := func(parts []string, host string) string {
					repl := caddy.NewReplacer()
					repl.Set("http.request.host", host)
					req, err := l.Request(nil, repl, Identified{ID: cache.JoinIdentity(parts), Parts: parts})
					if err != nil {
						require.ErrorIs(t, err, cache.ErrMalformedIdentity)
						return ""
					}
					return req.Key
				}
				same := a1 == b1 && a2 == b2 && (aHost == bHost || !strings.Contains(text, "host"))
				keyOfA, keyOfB := keyOf(a, aHost), keyOf(b, bHost)
				if keyOfA != "" && keyOfB != "" {
					require.Equal(t, same, keyOfA == keyOfB, "%s: %q", text, keyOfA)
				}
			}
		}
	})
}

// The whole identity of one part stands in the key as it is.
func FuzzIdentityAndValuesNeverRunIntoEachOther(f *testing.F) {
	f.Add("a-b", "c", "a", "b-c")
	f.Add("a:b", "c", "a", "b:c")
	f.Add("", "-", "-", "")
	f.Fuzz(func(t *testing.T, a, aHost, b, bHost string) {
		for _, text := range []string{
			"s:{http.request.host}:{id}", "s:{id}:{http.request.host}", "s:{http.request.host}-{id}", "s:{id}-{http.request.host}", "s:{http.request.host}/{id}/{http.request.host}",
		} {
			for _, hash := range []bool{false, true} {
				l := Lookup{Key: text, HashID: &hash, policy: &Policy{}}
				require.NoError(t, l.provisionKey(cache.Family{}))
				keyOf := func(id, host string) string {
					repl := caddy.NewReplacer()
					repl.Set("http.request.host", host)
					req, err := l.Request(nil, repl, Identified{ID: id})
					if err != nil {
						return ""
					}
					return req.Key
				}
				keyOfA, keyOfB := keyOf(a, aHost), keyOf(b, bHost)
				if keyOfA != "" && keyOfB != "" {
					require.Equal(t, a == b && aHost == bHost, keyOfA == keyOfB, "%s: %q", text, keyOfA)
				}
			}
		}
	})
}

func TestNeighboursInAKeyNeedATextBetween(t *testing.T) {
	t.Parallel()
	for text, wrong := range map[string]bool{
		"s:{id.1}{id.2}": true, "s:{http.request.host}{id}": true, "s:{id}{http.request.host}": true, "s:{id.1}-{id.2}": false, "s:{id.1}:{id.2}": false,
		"s:{id}{id}": false,
	} {
		for _, hash := range []bool{false, true} {
			_, err := newKeyTemplate("p:", text, 2, hash)
			if wrong && !hash {
				require.ErrorContains(t, err, "run into each other", text)
			} else {
				require.NoError(t, err, text)
			}
		}
	}
}
