package template

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
)

func newReplacer() *caddy.Replacer {
	repl := caddy.NewReplacer()
	for name, value := range map[string]any{
		"a": "value", "http.request.cookie.x-y": "cookie", "empty": "", "number": 12, "nothing": nil, "braces": "{a}",
	} {
		repl.Set(name, value)
	}
	return repl
}

func FuzzExpandIsWhatCaddyMakesOfIt(f *testing.F) {
	for _, text := range []string{
		"", "text", "{a}", "{http.request.cookie.x-y}", "{empty}", "{number}", "{nothing}", "{braces}", "{unknown}",
		"x{a}", "{a}x", "{a}{a}", "{", "}", "{}", "{a", "{{a}}", `{a\}`, `\{a}`, `\{a\}`, "{a:b}", "{file.none}", "{env.NONE:x}",
	} {
		f.Add(text, "")
		f.Add(text, "-")
	}
	f.Fuzz(func(t *testing.T, text, empty string) {
		require.Equal(t, newReplacer().ReplaceAll(text, empty), New(text).Expand(nil, newReplacer(), empty))
	})
}

func BenchmarkExpand(b *testing.B) {
	repl := newReplacer()
	for name, t := range map[string]Template{"Placeholder": New("{a}"), "Text": New("x{a}")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.Expand(nil, repl, "")
			}
		})
	}
}
