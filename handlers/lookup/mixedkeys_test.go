package lookup

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestOneRecordIsNotUsedForDifferentIdentities(t *testing.T) {
	t.Parallel()
	const cookie, header, subject = "{http.request.cookie.s}", "{http.request.header.X-Session}", "{http.request.tls.client.subject}"
	for name, c := range map[string]struct {
		idA, keyA, idB, keyB string // of both, parts separated by spaces
		hash, gatedA, gatedB bool
		why                  string // "": no conflict
	}{
		"the same twice":                    {idA: cookie, keyA: "s:{id}", idB: cookie, keyB: "s:{id}"},
		"a session in a cookie or a header": {idA: cookie, keyA: "s:{id}", idB: header, keyB: "s:{id}"},
		"what a map defines":                {idA: "{sid}", keyA: "s:{id}", idB: subject, keyB: "s:{id}"},
		"a cookie and a name":               {idA: cookie, keyA: "s:{id}", idB: subject, keyB: "s:{id}", why: "verified by the server"},
		"a cookie and an address":           {idA: "{http.vars.client_ip}", keyA: "s:{id}", idB: cookie, keyB: "s:{id}", gatedA: true, gatedB: true, why: "verified by the server"},
		"a path and a user":                 {idA: "{http.request.uri.path.1}", keyA: "s:{id}", idB: "{http.auth.user.id}", keyB: "s:{id}", why: "verified by the server"},
		"a cookie and a name, hashed":       {idA: cookie, keyA: "s:{id}", idB: subject, keyB: "s:{id}", hash: true, why: "verified by the server"},
		"a name with keys of its own":       {idA: cookie, keyA: "s:{id}", idB: subject, keyB: "cert:{id}"},
		"a name beside a cookie":            {idA: cookie + " " + subject, keyA: "s:{id}", idB: subject + " " + cookie, keyB: "s:{id}"},
		"a key within the other's":          {idA: cookie, keyA: "s:{id}", idB: cookie, keyB: "s:guest:{id}", why: "different identities"},
		"a host in a key":                   {idA: cookie, keyA: "s:{id}", idB: cookie, keyB: "s:{http.request.host}:{id}", why: "different identities"},
		"what require keeps apart":          {idA: cookie, keyA: "s:{id}", idB: cookie, keyB: "s:guest:{id}", gatedA: true},
		"a require of the other one":        {idA: cookie, keyA: "s:{id}", idB: cookie, keyB: "s:guest:{id}", gatedB: true, why: "different identities"},
		"texts that cross":                  {idA: cookie, keyA: "s:{id}:a", idB: cookie, keyB: "s:{http.request.host}:{id}", gatedA: true, why: "different identities"},
		"hashes of the same length":         {idA: cookie, keyA: "s:{id}", idB: cookie, keyB: "s:guest:{id}", hash: true},
		"hashes, and text of hex digits":    {idA: cookie, keyA: "s:{id}", idB: cookie, keyB: "s:a{id}", hash: true},
		"parts in another place":            {idA: cookie + " " + header, keyA: "s:{id}", idB: cookie + " " + header, keyB: "s:{id.1}:x:{id.2}"},
		"parts one by one":                  {idA: cookie + " " + header, keyA: "s:{id}", idB: cookie + " " + header, keyB: "s:{id.1}:{id.2}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asks := func(place, id, key string, gated bool) *asked {
				parts := strings.Fields(id)
				k, err := newKeyTemplate("", key, len(parts), c.hash)
				require.NoError(t, err)
				q := question{family: cache.Session, parts: len(parts), hash: c.hash}
				return &asked{place: "session_lookup '" + place + "'", key: k, question: q, origin: originOf(parts), gated: gated}
			}
			a, b := asks("first", c.idA, c.keyA, c.gatedA), asks("second", c.idB, c.keyB, c.gatedB)
			for _, err := range []error{a.conflict(b), b.conflict(a)} {
				if c.why == "" {
					require.NoError(t, err)
					continue
				}
				require.ErrorContains(t, err, c.why)
			}
			a.question.family, b.question.family = cache.FileMeta, cache.FileMeta // whose sources find files
			require.NoError(t, a.conflict(b))
		})
	}
}

func TestAnswersOfASourceAreForOneIdentity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keyA, keyB    string
		hash, refused bool
	}{
		"the same keys":                {"s:{id}", "s:{id}", false, false},
		"a host in the key":            {"s:{id}", "s:{http.request.host}:{id}", false, true},
		"a host in the key of a hash":  {"s:{id}", "s:{http.request.host}:{id}", true, false},
		"a key within the other's":     {"s:{id}", "s:x:{id}", false, true},
		"hashes in keys of one length": {"s:{id}", "s:{http.request.host}{id}", true, true},
	} {
		asks := func(key, id string) *asked {
			k, err := newKeyTemplate("", key, 1, c.hash)
			require.NoError(t, err)
			return &asked{place: "session_lookup 'x'", key: k, gated: true, origin: originOf(Identity{id}),
				question: question{sourceID: "app", family: cache.Session, parts: 1, hash: c.hash}}
		}
		err := asks(c.keyA, "{http.request.cookie.s}").conflict(asks(c.keyB, "{http.request.tls.client.subject}"))
		if !c.refused {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, "different identities", name)
	}
}
