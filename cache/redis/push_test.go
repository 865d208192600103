package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// everyKey stands for a report that all keys were written.
const everyKey = "(every key)"

// readPushes reads pushes until the end of the text, and returns the reported
// keys and the sizes of the parts.
func readPushes(r *bufio.Reader) (keys []string, parts []int, err error) {
	p := pushReader{reader: r, written: func(part []string) {
		if part == nil {
			keys = append(keys, everyKey)
			return
		}
		keys, parts = append(keys, part...), append(parts, len(part))
	}}
	for {
		switch first, err := r.Peek(1); {
		case errors.Is(err, io.EOF):
			return keys, parts, nil
		case err != nil:
			return keys, parts, err
		case first[0] != '>':
			return keys, parts, fmt.Errorf("%q is no push", first)
		}
		if err := p.read(); err != nil {
			return keys, parts, err
		}
	}
}

func TestPushesReportTheKeysThatWereWritten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*pushBytes)
	for text, want := range map[string][]string{
		">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n":                           {"k"},
		">2\r\n+invalidate\r\n*2\r\n+a\r\n$4\r\nb\r\nc\r\n":                      {"a", "b\r\nc"},
		">2\r\n+invalidate\r\n*1\r\n$0\r\n\r\n":                                  {""},
		">2\r\n+invalidate\r\n*0\r\n":                                            nil,
		">2\r\n+invalidate\r\n_\r\n":                                             {everyKey},
		">2\r\n+invalidate\r\n*-1\r\n":                                           {everyKey},
		">2\r\n+invalidate\r\n$1\r\nk\r\n":                                       {everyKey},
		">1\r\n+invalidate\r\n":                                                  {everyKey},
		">2\r\n+invalidate\r\n*3\r\n+a\r\n:1\r\n+b\r\n":                          {everyKey, "a", "b"},
		">2\r\n+invalidate\r\n*2\r\n$-1\r\n+b\r\n":                               {everyKey, "b"},
		">2\r\n+invalidate\r\n*2\r\n*1\r\n+a\r\n+b\r\n":                          {everyKey, "b"},
		">3\r\n+invalidate\r\n*1\r\n+a\r\n*1\r\n+more\r\n":                       {"a"},
		">3\r\n+message\r\n+channel\r\n+invalidate\r\n":                          nil,
		">2\r\n:1\r\n*1\r\n+a\r\n":                                               nil,
		">2\r\n+invalidates\r\n*1\r\n+a\r\n>2\r\n+invalidate\r\n_\r\n":           {everyKey},
		">0\r\n>2\r\n+invalidate\r\n*1\r\n+a\r\n":                                {"a"},
		fmt.Sprintf(">2\r\n+invalidate\r\n*1\r\n$%d\r\n%s\r\n", len(long), long): {long},
	} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)),
		} {
			got, _, err := readPushes(bufio.NewReaderSize(r, 64))
			require.NoError(t, err, "%s: %q", name, text)
			require.Equal(t, want, got, "%s: %q", name, text)
		}
	}
}

// A million keys that one command writes are one report.
func TestALongReportIsHandledInParts(t *testing.T) {
	t.Parallel()
	var want []string
	var text strings.Builder
	const n = 10_000
	fmt.Fprintf(&text, ">2\r\n+invalidate\r\n*%d\r\n", n)
	for i := range n {
		key := strings.Repeat("k", i%50) + fmt.Sprint(i)
		want = append(want, key)
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(key), key)
	}
	got, parts, err := readPushes(bufio.NewReader(strings.NewReader(text.String())))
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.LessOrEqual(t, slices.Max(parts), pushKeys)
	require.GreaterOrEqual(t, len(parts), n/pushKeys)
}

func TestPushesForKeysWithoutCopiesTakeOneAllocationAPart(t *testing.T) {
	text := ">2\r\n$10\r\ninvalidate\r\n*3\r\n$3\r\none\r\n$3\r\ntwo\r\n$5\r\nthree\r\n"
	p := pushReader{reader: bufio.NewReader(&repeated{text: []byte(text)}), written: func([]string) {}}
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		if err := p.read(); err != nil {
			panic(err)
		}
	}), 1.0)
}

func TestMalformedPushesAreErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		">", ">2\r\n", ">2\r\n+invalidate", ">2\r\n+invalidate\r\n", ">2\r\n+invalidate\r\n*1\r\n", ">x\r\n", ">-2\r\n",
		">2\r\n+invalidate\r\n*x\r\n", ">2\r\n+invalidate\r\n*-2\r\n", ">2\r\n+invalidate\r\n*1\r\n$3\r\nab\r\n",
		">2\r\n+invalidate\r\n*1\r\n$1\r\nab\r\n", ">2\r\n+invalidate\r\n*1\r\n$99999999999\r\n", ">2\r\n+invalidate\r\n*1\r\n$-3\r\n",
		">2\r\n+invalidate\r\n*1\r\n$+1\r\na\r\n", ">2\r\n+invalidate\r\n*1\r\n?\r\n", ">3\r\n+invalidate\r\n*1\r\n+a\r\n", ">2\r\n+other\r\n",
	} {
		_, _, err := readPushes(bufio.NewReader(strings.NewReader(text)))
		require.Error(t, err, "%q", text)
	}
}

// Whatever the reader of all replies takes from a push, this reader reports.
func FuzzPush(f *testing.F) {
	for _, text := range []string{
		">2\r\n+invalidate\r\n*1\r\n+k\r\n", ">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n_\r\n", ">2\r\n+invalidate\r\n_\r\n", ">1\r\n+x\r\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !strings.HasPrefix(text, ">") {
			return
		}
		reply, err := readReply(bufio.NewReader(strings.NewReader(text)))
		push, isPush := reply.(pushed)
		if err != nil || !isPush || len(push) < 2 || push[0] != "invalidate" {
			_, _, _ = readPushes(bufio.NewReader(strings.NewReader(text)))
			return
		}
		got, _, _ := readPushes(bufio.NewReader(strings.NewReader(text)))
		items, isList := push[1].([]any)
		if !isList {
			require.Contains(t, got, everyKey)
		}
		for _, item := range items {
			if key, ok := item.(string); ok && !slices.Contains(got, key) {
				require.Contains(t, got, everyKey)
			}
		}
	})
}
