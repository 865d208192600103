package lookupfs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
)

// Each file has a Caddyfile and, under its line of dashes, its JSON or a part
// of the error.
func TestLookupCacheAdapts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "*.caddyfiletest"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			input, want, ok := strings.Cut(string(text), "----------\n")
			require.True(t, ok, "no line of dashes")
			got, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
			if want = strings.TrimSpace(want); strings.HasPrefix(want, "{") {
				require.NoError(t, err)
				require.Empty(t, warnings, "not formatted?")
				require.JSONEq(t, want, string(got))
				return
			}
			require.ErrorContains(t, err, want)
			require.Regexp(t, regexp.MustCompile(`Caddyfile:\d+`), err.Error(), "the line is not named")
		})
	}
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
