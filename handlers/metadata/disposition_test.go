package metadata

import (
	"mime"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestDispositionProposesSafeNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"document.pdf":           `; filename="document.pdf"`,
		"with space.txt":         `; filename="with space.txt"`,
		`say "hi".txt`:           `; filename="say _hi_.txt"; filename*=UTF-8''say%20%22hi%22.txt`,
		"100%.txt":               `; filename="100_.txt"; filename*=UTF-8''100%25.txt`,
		"naïve 文.txt":            `; filename="na_ve _.txt"; filename*=UTF-8''na%C3%AFve%20%E6%96%87.txt`,
		"../../etc/passwd":       `; filename="passwd"`,
		`C:\Windows\system.ini`:  `; filename="system.ini"`,
		"a\r\nX-Evil: 1":         `; filename="aX-Evil: 1"`,
		"\u202egpj.exe":          `; filename="gpj.exe"`,
		"a;b=c.txt":              `; filename="a;b=c.txt"`,
		"":                       "",
		"..":                     "",
		"dir/":                   "",
		"\x00\x01":               "",
		strings.Repeat("a", 256): "",
	} {
		require.Equal(t, want, dispositionParams(name), "%q", name)
	}
}

func FuzzDisposition(f *testing.F) {
	for _, seed := range []string{"a.txt", "ä.txt", `"\`, "a\nb", "../x", "\xff", "%41", "a/b\\c", "\u2066x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		params := dispositionParams(name)
		for _, r := range params {
			require.True(t, r >= ' ' && r <= '~', "%q", params)
		}
		if params == "" {
			return
		}
		// what a client that reads only the first and one that reads both would save
		plain, _, _ := strings.Cut(params, "; filename*=")
		for _, value := range []string{plain, params} {
			if value == params && value != plain {
				value = params[len(plain):]
			}
			kind, got, err := mime.ParseMediaType("attachment" + value)
			require.NoError(t, err, "%q", value)
			require.Equal(t, "attachment", kind)
			file := got["filename"]
			require.NotEmpty(t, file)
			require.Equal(t, file, filepath.Base(file))
			require.NotContains(t, file, `\`)
			require.Negative(t, strings.IndexFunc(file, unicode.IsControl))
		}
	})
}
