package session

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestSessionLookupAdapts(t *testing.T) {
	t.Parallel()
	sitetest.TestAdapt(t, "*.caddyfiletest")
}

func FuzzSessionLookupCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"session_lookup {cookie.session}",
		"session_lookup {cookie.session} {\n\trequire role admin\n\tcopy_headers a>B {\n\t\tc\n\t}\n\ton_missing redirect /x\n}",
		"session_lookup a {\n\tsource http https://a/?{id} {\n\t\theader A {id}\n\t}\n\tsliding\n\tttl 1h\n\thash_id off\n}",
		"session_lookup a {\n\tkey b {\n\t\tc\n\t}\n}",
		"session_lookup \"\" {\n}",
		"session_lookup {\n\tfrom express {\n\t\tcookie a\n\t\tsecret b c\n\t\tkey d:{id}\n\t}\n}",
		"session_lookup a { }\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil {
			return
		}
		s := new(Handler)
		if err := s.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			if len(tokens) > 0 {
				require.Regexp(t, `Caddyfile:\d+`, err.Error())
			}
			return
		}
		require.NotEqual(t, len(s.ID) == 0, s.FromRaw == nil, "either an identity or a store")
		_, err = resolveCopies(s.CopyHeaders)
		require.NoError(t, err, "found too late to name the line")
	})
}
