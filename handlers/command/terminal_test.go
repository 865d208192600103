package command

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestTextCannotSteerATerminal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain ключ 문서 😀":     "plain ключ 문서 😀",
		"\x1b[31mred":         `\x1b[31mred`,
		"a\nb\r\tc\x00\x7f":   `a\nb\r\tc\x00\x7f`,
		"csi \u009b31m":       `csi \u009b31m`,
		"turned \u202etxt":    `turned \u202etxt`,
		"invalid \xff":        "invalid \ufffd",
		`quote ' " back \ ok`: `quote ' " back \ ok`,
	} {
		require.Equal(t, want, printable(text))
	}
}

func FuzzPrintableJSONMeansTheSame(f *testing.F) {
	for _, text := range []string{`{"a":1}`, "{\"a\": \"\u009b31m\u202e\u007f\U000e0001\"}", "[\n1,\t2]", `"\ud800"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := string(printableJSON([]byte(text)))
		for _, r := range got {
			require.True(t, r == '\n' || r == '\t' || strconv.IsPrint(r), "%q", got)
		}
		var want, have any
		if !utf8.ValidString(text) || json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		require.NoError(t, json.Unmarshal([]byte(got), &have), "%q", got)
		require.Equal(t, want, have)
	})
}

func TestSpansAreInTheirTwoLargestUnits(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int]string{
		0: "0s", 59: "59s", 61: "1m 1s", 3600: "1h 0m", 86399: "23h 59m", 90000: "1d 1h", 86400 * 400: "400d 0h",
	} {
		require.Equal(t, want, span(time.Duration(seconds)*time.Second))
	}
}
