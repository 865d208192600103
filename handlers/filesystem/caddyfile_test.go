package filesystem

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestLookupCacheAdapts(t *testing.T) {
	t.Parallel()
	sitetest.TestAdapt(t, "*.caddyfiletest")
}

func TestJSONErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"ttl": -1}`:                          "cannot be negative",
		`{"max_size": -1}`:                     "cannot be negative",
		`{"file_system": {"backend": "none"}}`: "loading the file system under lookup_cache",
		`{"file_system": {"latency": 1}}`:      "loading the file system under lookup_cache",
		`{"size": 1}`:                          "unknown field",
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		_, err := ctx.LoadModuleByID("caddy.fs.lookup_cache", []byte(config))
		cancel()
		require.ErrorContains(t, err, want, config)
	}
}

func FuzzLookupCacheCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"lookup_cache",
		"lookup_cache {\n\tttl 2s\n\tmax_size 16MiB\n\tfs test_slow 5ms\n}",
		"lookup_cache {\n\tfs lookup_cache {\n\t\tttl 1s\n\t}\n}",
		"lookup_cache {\n\tfs\n}",
		"lookup_cache a {\n\tttl 1 2\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil || len(tokens) == 0 {
			return
		}
		c := new(LookupCache)
		if err := c.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			require.Regexp(t, `Caddyfile:\d+`, err.Error())
			return
		}
		require.GreaterOrEqual(t, c.TTL, caddy.Duration(0))
		require.GreaterOrEqual(t, c.MaxSize, int64(0))
	})
}
