package session

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
)

func TestQuotedOperatorsAreValues(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		`"not" admin`:            {"admin", "not"},
		"`in` out \"except\"":    {"out", "in", "except"},
		`a "&&" b`:               {"a", "b", "&&"},
		`admin "Is" "Not-In"`:    {"admin", "Is", "Not-In"},
		`admin not`:              {"admin", "not"},
		`"with spaces not" x`:    {"with spaces not", "x"},
		`island notary -1 order`: {"island", "notary", "-1", "order"},
		`* admin`:                {"*", "admin"},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			h := new(Handler)
			d := caddyfile.NewTestDispenser("session_lookup {http.request.cookie.s} {\nrequire role " + line + "\n}")
			require.NoError(t, h.UnmarshalCaddyfile(d))
			require.Equal(t, want, h.Require[0].Values)
			require.NoError(t, h.Require[0].provision())
		})
	}
}

func TestEveryOperatorBeforeAValueIsRefused(t *testing.T) {
	t.Parallel()
	words := append(append([]string{"¬", "≠", "∉", "||", "|", ";", "+", "/", "not_in", "Is-Not", "doesn\u2019t"}, negations...), operators...)
	for _, word := range words {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			for _, values := range [][]string{{word, "guest"}, {"admin", word, "guest"}, {"admin", word, "is", "guest"}} {
				q := Requirement{Field: "role", Values: values}
				require.ErrorContains(t, q.provision(), "reads as an operator", values)
			}
			q := Requirement{Field: "role", Values: []string{"admin", word}}
			require.NoError(t, q.provision())
		})
	}
}
