// Package docs_test runs the examples of the documentation: every Caddyfile and
// JSON configuration is loaded, every shell block with curl, redis-cli or
// `caddy filewallball` is executed, and every link is followed.
package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }

// block is a fenced code block of a page.
type block struct {
	page     string
	line     int
	language string
	text     string
	note     string // the HTML comment on the line before it
}

func (b block) name() string { return fmt.Sprintf("%s:%d", filepath.Base(b.page), b.line) }

// pages are the names of all pages.
func pages(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"../*.md", "*.md", "adr/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		names = append(names, found...)
	}
	require.Contains(t, names, "../README.md")
	require.Contains(t, names, "caddyfile.md")
	return names
}

var comment = regexp.MustCompile(`^<!-- (.*) -->$`)

// blocks are the code blocks of a page, in their order.
func blocks(t *testing.T, page string) (found []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var open *block
	note := ""
	for i, line := range strings.Split(string(text), "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			open = &block{page: page, line: i + 1, language: fence, note: note}
		case isFence:
			found, open, note = append(found, *open), nil, ""
		case open != nil:
			open.text += line + "\n"
		default:
			note = ""
			if m := comment.FindStringSubmatch(line); m != nil {
				note = m[1]
			}
		}
	}
	require.Nil(t, open, "%s: a code block does not end", page)
	return found
}

// eachBlock runs a test for each block in one of these languages.
func eachBlock(t *testing.T, test func(t *testing.T, b block), languages ...string) {
	t.Helper()
	count := 0
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			for _, language := range languages {
				if b.language == language {
					count++
					t.Run(b.name(), func(t *testing.T) { test(t, b) })
				}
			}
		}
	}
	require.NotZero(t, count, "no block in %v", languages)
}

func TestCaddyfilesOfTheDocsAreFormattedAndValid(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "s3cret") // which the examples take from the environment
	eachBlock(t, func(t *testing.T, b block) {
		require.Equal(t, string(caddyfile.Format([]byte(b.text))), b.text, "not as `caddy fmt` writes it")
		requireValid(t, newPlace(t).adapt(t, b.text))
	}, "caddyfile")
}

// A JSON block with "apps" is a configuration; any other is an example of a
// record or of an answer.
func TestJSONOfTheDocsIsValid(t *testing.T) {
	configurations := 0
	eachBlock(t, func(t *testing.T, b block) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(b.text), &object))
		if _, ok := object["apps"]; ok {
			configurations++
			requireValid(t, []byte(newPlace(t).replace(b.text)))
		}
	}, "json")
	require.NotZero(t, configurations)
}

func requireValid(t *testing.T, config []byte) {
	t.Helper()
	var parsed caddy.Config
	require.NoError(t, json.Unmarshal(config, &parsed))
	require.NoError(t, caddy.Validate(&parsed), "%s", config)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	code    = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are the names that GitHub gives the headings of a page.
func anchors(t *testing.T, page string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
		name := dropped.ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func TestLinksOfTheDocsLeadSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue // other sites are not asked
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			_, err := os.Stat(target)
			require.NoError(t, err, "%s links to %s", page, m[1])
			if anchor != "" {
				require.Contains(t, anchors(t, target), anchor, "%s links to %s", page, m[1])
			}
		}
	}
}

var testName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`")

// A page that says which test holds a promise names one that there is.
func TestTestsNamedInTheDocsExist(t *testing.T) {
	known := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	require.NoError(t, filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			known[string(m[1])] = true
		}
		return err
	}))
	named := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
			named++
			require.True(t, known[m[1]], "%s names %s, which is not in this repository", page, m[1])
		}
	}
	require.NotZero(t, named)
}
