package session

import (
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// FuzzMalformedIdentityPassesNoGate looks for a malformed identity that gets past
// a lookup, whatever else it lets pass, and for one that is refused though it is not.
func FuzzMalformedIdentityPassesNoGate(f *testing.F) {
	for _, id := range []string{
		"a", "a\x00", "\n", "\x7f", "\u0085", "\u009f", "\xff", "a\xc0\xaf", "\xed\xa0\x80", strings.Repeat("x", 8192), strings.Repeat("x", 8193),
		strings.Repeat("é", 4096), strings.Repeat("é", 4097), "\u200b", "\ufeff", "\U0010ffff",
	} {
		f.Add(id, "b")
		f.Add("b", id)
	}
	const loose = `"on_missing": {"continue": true}, "on_denied": {"continue": true}, "on_error": {"continue": true}, "on_anonymous": {"continue": true}`
	ctx, _ := lookuptest.NewApp(f, `{}`)
	one, err := lookuptest.NewHandler(ctx, "session_lookup", `{"id": "{http.request.header.A}", "key": "one:{id}", `+loose+`}`)
	require.NoError(f, err)
	two, err := lookuptest.NewHandler(ctx, "session_lookup", `{"id": ["{http.request.header.A}", "{http.request.header.B}"], "key": "two:{id.2}:{id.1}", `+loose+`}`)
	require.NoError(f, err)
	malformed := func(id string) bool {
		return len(id) > 8192 || !utf8.ValidString(id) || strings.ContainsFunc(id, func(c rune) bool { return unicode.Is(unicode.Cc, c) })
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		r := lookuptest.Get("/")
		r.Header["A"], r.Header["B"] = []string{a}, []string{b}
		requireGate := func(answer lookuptest.Answer, refused bool) {
			require.Equal(t, !refused, answer.Next)
			if refused {
				require.Equal(t, http.StatusBadRequest, answer.Status)
			}
		}
		requireGate(lookuptest.Serve(one, r), malformed(a))
		requireGate(lookuptest.Serve(two, r), malformed(a) || malformed(b))
	})
}
