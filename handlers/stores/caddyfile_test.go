package stores

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
)

func TestAnEmptyVariableIsNoAddress(t *testing.T) {
	t.Setenv("TEST_REDIS_ADDRESS", "redis.internal:6379")
	for text, wrong := range map[string]bool{
		"redis {$TEST_NO_SUCH_VARIABLE}":              true,
		"redis {$TEST_NO_SUCH_VARIABLE} {\n}":         true,
		"redis {$TEST_NO_SUCH_VARIABLE:localhost}":    false,
		"redis {$TEST_REDIS_ADDRESS}":                 false,
		"redis":                                       false,
		"redis {\n\tpassword {$TEST_NO_PASSWORD}x\n}": false,
	} {
		file := filepath.Join(t.TempDir(), "Caddyfile")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		blocks, err := caddyfile.Parse(file, []byte("example.com {\n"+text+"\n}"))
		require.NoError(t, err)
		tokens := blocks[0].Segments[0]
		for i := range tokens {
			tokens[i].Line-- // as in the file, which has no block around it
		}
		d := caddyfile.NewDispenser(tokens)
		require.True(t, d.Next())
		err = new(Redis).Unmarshal(d)
		if wrong {
			require.ErrorContains(t, err, "environment variable that is empty", text)
		} else {
			require.NoError(t, err, text)
		}
	}
}
