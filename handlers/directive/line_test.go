package directive

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
)

func TestAnEmptyVariableOrArgumentIsAnError(t *testing.T) {
	t.Setenv("TEST_ADDRESS", "redis.internal:6379")
	t.Setenv("TEST_LINES", "a\nb\nc")
	t.Setenv("TEST_EMPTY", "")
	for text, wrong := range map[string]string{
		"redis {$TEST_NOT_SET}":                              "environment variable TEST_NOT_SET",
		"redis {$TEST_NOT_SET} {\n}":                         "environment variable TEST_NOT_SET",
		"redis {$TEST_EMPTY}":                                "environment variable TEST_EMPTY",
		"redis a \\\n\t{$TEST_NOT_SET}":                      "environment variable TEST_NOT_SET",
		"redis x{$TEST_NOT_SET}":                             "environment variable TEST_NOT_SET",
		"{$TEST_LINES}\nredis {$TEST_NOT_SET}":               "environment variable TEST_NOT_SET",
		"{$NONE:a\nb}\nredis {$TEST_NOT_SET}":                "environment variable TEST_NOT_SET",
		"redis \"\"":                                         "an argument that is empty",
		"redis \"{$TEST_NOT_SET}\"":                          "an argument that is empty",
		"redis {args[:]}":                                    "argument of the import",
		"redis \"a b\" {args[1:]} # more":                    "argument of the import",
		"redis {$TEST_NOT_SET:localhost}":                    "",
		"redis {$TEST_NOT_SET:}":                             "",
		"redis {$TEST_EMPTY:localhost}":                      "environment variable TEST_EMPTY",
		"redis {$TEST_NOT_SET:{}}":                           "",
		"redis {$TEST_ADDRESS}":                              "",
		"redis":                                              "",
		"redis {$TEST_EMPTY:}":                               "",
		"redis {$TEST_EMPTY:localhost} {\n}":                 "is set but empty, and a default applies only where it is not set",
		"redis {$TEST_NOT_SET} # c":                          "write {$TEST_NOT_SET:} if empty is right",
		"redis {\n\tpassword {$TEST_NOT_SET}x\n}":            "password: the environment variable TEST_NOT_SET is not set",
		"redis {\n\ta\n\t{$TEST_NOT_SET}\n}":                 "redis: the environment variable TEST_NOT_SET",
		"redis {\n\t{$TEST_NOT_SET}\n}":                      "redis: the environment variable TEST_NOT_SET",
		"redis {\n\ta\n\t{$TEST_EMPTY:b}\n}":                 "TEST_EMPTY is set but empty",
		"redis {\n\ta\n\t{$TEST_EMPTY:}\n}":                  "",
		"redis {\n\ta\n\t{$TEST_NOT_SET:}\n}":                "",
		"redis {\n\ta {\n\t\tb\n\t\t{$TEST_NOT_SET}\n\t}\n}": "environment variable TEST_NOT_SET",
		"redis {\n\ta {\n\t\tb\n\t}\n}\n# {$TEST_NOT_SET}\nc {$TEST_NOT_SET}": "",
		"redis {\n\ta\n\t{args[:]}\n}":                                        "redis: an argument of the import",
		"redis {\n\ta {args[0]}\n\tb\n}":                                      "a: an argument of the import",
		"redis {\n\ta # {$TEST_NOT_SET}\n\tb\n}":                              "",
		"redis {\n\ta \"}\"\n\tb {$TEST_LINES}\n\tc {$TEST_NOT_SET}\n}":       "environment variable TEST_NOT_SET",
		"redis # {args[:]} is not here, nor is that":                          "",
	} {
		file := filepath.Join(t.TempDir(), "Caddyfile")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		d := newDispenser(t, file, text)
		for d.Next() {
			if d.Val() == "redis" {
				break
			}
		}
		require.Equal(t, "redis", d.Val(), text)
		if err := CheckLine(d); wrong != "" {
			require.ErrorContains(t, err, wrong, text)
		} else {
			require.NoError(t, err, text)
		}
	}
}

// A configuration that is posted to /load is named Caddyfile, and so may be another file
// in the working directory.
func TestAnotherFileNamedCaddyfileIsNotCompared(t *testing.T) {
	for posted, file := range map[string]string{
		"redis a":                          "redis {$TEST_NOT_SET}",
		"redis":                            "redis a {$TEST_NOT_SET}",
		"redis {\n\tdb 1\n}":               "redis {$TEST_NOT_SET} {\n\tdb 2\n}",
		"redis {\n\tdb 1\n\tusername u\n}": "redis {$TEST_NOT_SET} {\n\tdb 1\n}",
		"other\nredis":                     "redis\nredis {$TEST_NOT_SET}",
	} {
		name := filepath.Join(t.TempDir(), "Caddyfile")
		require.NoError(t, os.WriteFile(name, []byte(file), 0o600))
		d := newDispenser(t, name, posted)
		for d.Next() {
			if d.Val() == "redis" {
				break
			}
		}
		require.NoError(t, CheckLine(d), posted)
		_, err := checkWritten(d, "redis", 0)
		require.NoError(t, err, posted)
	}
}

func TestAPipeIsReadOnce(t *testing.T) {
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer read.Close()
	defer write.Close() // a second reader would wait for it
	d := newDispenser(t, fmt.Sprintf("/dev/fd/%d", read.Fd()), "redis")
	require.True(t, d.Next())
	require.NoError(t, CheckLine(d))
}

// newDispenser has the tokens of a text, as Caddy reads them after it has
// replaced variables and import arguments.
func newDispenser(t *testing.T, file, text string) *caddyfile.Dispenser {
	t.Helper()
	text = variables.ReplaceAllStringFunc(text, valueOf)
	text = importArguments.ReplaceAllString(text, "")
	tokens, err := caddyfile.Tokenize([]byte(text), file)
	require.NoError(t, err)
	return caddyfile.NewDispenser(tokens)
}

// A configuration of a thousand routes is read in a second or two, and not in
// twenty: a line is not compared with the whole file where nothing is missing.
func TestCheckingALineDoesNotReadTheWordsOfTheWholeFile(t *testing.T) {
	text := "redis a {\n\tb {$TEST_NOT_SET:c}\n}\n" + strings.Repeat("respond /a b\n", 5000)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	d := newDispenser(t, file, text)
	require.True(t, d.Next())
	require.Less(t, testing.AllocsPerRun(5, func() {
		at := *d
		require.NoError(t, CheckLine(&at))
	}), 200.0)
}
