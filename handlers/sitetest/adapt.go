package sitetest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"
)

// TestAdapt adapts each Caddyfile in testdata that matches the pattern, and
// compares it with what is under its line of dashes: its JSON, or a part of the
// error, which must name the line.
func TestAdapt(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
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
