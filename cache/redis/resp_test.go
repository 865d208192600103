package redis

import (
	"bufio"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplies(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"+OK\r\n":                           "OK",
		"-ERR no\r\n":                       replyError("ERR no"),
		":-7\r\n":                           int64(-7),
		"$3\r\na\r\n\r\n":                   "a\r\n",
		"$-1\r\n":                           nil,
		"*-1\r\n":                           nil,
		"_\r\n":                             nil,
		"#t\r\n":                            "t",
		"!6\r\nERR no\r\n":                  replyError("ERR no"),
		"*2\r\n:1\r\n$1\r\na\r\n":           []any{int64(1), "a"},
		"%1\r\n+a\r\n:1\r\n":                []any{"a", int64(1)},
		"~0\r\n":                            []any{},
		">2\r\n+invalidate\r\n_\r\n":        pushed{"invalidate", nil},
		"|1\r\n+ttl\r\n:1\r\n+OK\r\n":       "OK",
		">2\r\n+invalidate\r\n*1\r\n+k\r\n": pushed{"invalidate", []any{"k"}},
	} {
		reply, err := readReply(bufio.NewReader(strings.NewReader(text)))
		require.NoError(t, err, text)
		require.Equal(t, want, reply, text)
	}
}

func TestMalformedRepliesAreErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\r\n", "+OK\n", "+OK", ":x\r\n", "$1\r\n", "$1\r\nabc", "$-2\r\n", "$99999999999\r\n", "*16777217\r\n",
		"?1\r\n", "*1\r\n", "%1\r\n+a\r\n", strings.Repeat("*1\r\n", 20) + ":1\r\n", strings.Repeat("|0\r\n", 20) + ":1\r\n",
		"+" + strings.Repeat("x", 5000) + "\r\n",
	} {
		_, err := readReply(bufio.NewReader(strings.NewReader(text)))
		require.Error(t, err, text)
	}
}

func FuzzReply(f *testing.F) {
	f.Add("*2\r\n:1\r\n$1\r\na\r\n")
	f.Add(">2\r\n+invalidate\r\n*1\r\n+k\r\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = readReply(bufio.NewReader(strings.NewReader(text)))
	})
}
