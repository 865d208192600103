// The syntax blocks of the docs, compared with what the directives take.
package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/dashboard"
	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/filesystem"
	"github.com/filewallball/caddy-filewallball/handlers/invalidate"
	"github.com/filewallball/caddy-filewallball/handlers/metadata"
	"github.com/filewallball/caddy-filewallball/handlers/session"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
	httpsource "github.com/filewallball/caddy-filewallball/handlers/source/http"
	"github.com/filewallball/caddy-filewallball/handlers/upload"
)

// syntaxes are the blocks of the docs by name, each as a Caddyfile in which
// OPTION stands for an option of it.
var syntaxes = map[string]string{
	"filewallball":                "{\nfilewallball {\nOPTION\n}\n}",
	"filewallball redis":          "{\nfilewallball {\nredis {\nOPTION\n}\n}\n}",
	"filewallball redis tls":      "{\nfilewallball {\nredis {\ntls {\nOPTION\n}\n}\n}\n}",
	"filewallball near_cache":     "{\nfilewallball {\nnear_cache {\nOPTION\n}\n}\n}",
	"filewallball memory":         "{\nfilewallball {\nmemory {\nOPTION\n}\n}\n}",
	"filewallball memory persist": "{\nfilewallball {\nmemory {\npersist file {\nOPTION\n}\n}\n}\n}",
	"filewallball alert":          "{\nfilewallball {\nalert {\nOPTION\n}\n}\n}",
	"session_lookup":              "http:// {\nsession_lookup {cookie.a} {\nOPTION\n}\n}",
	"from":                        "http:// {\nsession_lookup {\nfrom express {\nOPTION\n}\n}\n}",
	"cached_forward_auth":         "http:// {\ncached_forward_auth localhost:9091 {\nOPTION\n}\n}",
	"file_metadata":               "http:// {\nfile_metadata {path} {\nOPTION\n}\n}",
	"source file_system":          "http:// {\nfile_metadata {\nsource file_system {\nOPTION\n}\n}\n}",
	"source http":                 "http:// {\nsession_lookup {cookie.a} {\nsource http http://localhost {\nOPTION\n}\n}\n}",
	"lookup_invalidate":           "http:// {\nlookup_invalidate key {\nOPTION\n}\n}",
	"upload_progress":             "http:// {\nupload_progress {path} {\nOPTION\n}\n}",
	"lookup_dashboard":            "http:// {\nlookup_dashboard {\nOPTION\n}\n}",
	"upload_progress_report":      "http:// {\nupload_progress_report {path} {\nOPTION\n}\n}",
	"lookup_cache":                "{\nfilesystem a lookup_cache {\nOPTION\n}\n}",
}

// documented are the options of each block of the docs, by the block's name;
// blocks in blocks have the names of all around them.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	options := make(map[string][]string)
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			name, ok := strings.CutPrefix(b.note, "syntax: ")
			if !ok {
				continue
			}
			var open []string
			for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
				word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
				switch {
				case word == "}" && len(open) > 0:
					open = open[:len(open)-1]
					continue
				case len(open) > 0:
					in := strings.Join(open, " ")
					options[in] = append(options[in], word)
				default:
					word = name
				}
				if strings.HasSuffix(line, "{") {
					open = append(open, word)
				}
			}
		}
	}
	return options
}

var word = regexp.MustCompile(`[a-z][a-z_]+`)

// problem is the error of a Caddyfile with this option.
func problem(t *testing.T, caddyfile, option string) string {
	t.Helper()
	_, err := sitetest.Adapt(strings.Replace(caddyfile, "OPTION", option, 1))
	if err == nil {
		return ""
	}
	message, _, _ := strings.Cut(err.Error(), ", at Caddyfile")
	return message
}

// isOption reports whether a block knows an option.
func isOption(t *testing.T, caddyfile, option string) bool {
	t.Helper()
	message := problem(t, caddyfile, option)
	return !strings.Contains(message, "unknown") && !strings.Contains(message, "has no '"+option+"'") &&
		!strings.Contains(message, "unrecognized")
}

// The options that the error of an unknown one names are those that there are,
// and those of the docs.
func TestSyntaxOfTheDocsIsThatOfTheDirectives(t *testing.T) {
	options := documented(t)
	for name, caddyfile := range syntaxes {
		t.Run(name, func(t *testing.T) {
			require.NotEmpty(t, options[name], "the docs have no such block")
			message := problem(t, caddyfile, "no_such_option")
			require.Contains(t, message, "'no_such_option'")
			named := word.FindAllString(message, -1)
			for _, option := range options[name] {
				require.True(t, isOption(t, caddyfile, option), "%s is in the docs, and there is no such option", option)
				if strings.HasPrefix(option, "@") { // a name that users choose
					require.Contains(t, message, option)
					continue
				}
				require.Contains(t, named, option, "the error of an unknown option does not name it")
			}
			for _, option := range named {
				if option != "no_such_option" && isOption(t, caddyfile, option) {
					require.Contains(t, options[name], option, "an option is not in the docs")
				}
			}
		})
	}
	for name := range options {
		require.Contains(t, syntaxes, name, "a syntax block in the docs is not compared")
	}
}

// Each option has a row, or a part of one, that says what it means.
func TestOptionsOfTheDocsAreExplained(t *testing.T) {
	var rows []string
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, line := range strings.Split(string(text), "\n") {
			if cells := strings.Split(line, "|"); len(cells) > 3 {
				rows = append(rows, cells[1]+cells[2])
			}
		}
	}
	for name, options := range documented(t) {
		for _, option := range options {
			require.True(t, slices.ContainsFunc(rows, func(row string) bool {
				return strings.Contains(row, "`"+option+"`") || strings.Contains(row, "`"+option+" ")
			}), "no table explains %s of %s", option, name)
		}
	}
}

// The docs show the lines of each directive's table of options. Those of the global
// option are in blocks in blocks, of which only the names are compared.
func TestSyntaxLinesOfTheDocsAreThoseOfTheTables(t *testing.T) {
	tables := map[string]directive.Options{
		"session_lookup":         new(session.Handler).Options(),
		"cached_forward_auth":    session.ForwardAuthOptions(),
		"file_metadata":          new(metadata.Handler).Options(),
		"source file_system":     new(filesource.Source).Options(),
		"source http":            new(httpsource.Source).Options(),
		"lookup_invalidate":      new(invalidate.Handler).Options(),
		"upload_progress":        new(upload.Handler).Options(),
		"upload_progress_report": new(upload.Report).Options(),
		"lookup_dashboard":       new(dashboard.Handler).Options(),
		"lookup_cache":           new(filesystem.LookupCache).Options(),
	}
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			name, _ := strings.CutPrefix(b.note, "syntax: ")
			options, ok := tables[name]
			if !ok {
				continue
			}
			delete(tables, name)
			var lines []string
			for _, line := range strings.Split(b.text, "\n") {
				if line, ok := strings.CutPrefix(line, "\t"); ok {
					lines = append(lines, line)
				}
			}
			require.Equal(t, options.Syntax(), lines, name)
		}
	}
	require.Empty(t, tables, "these have no syntax block in the docs")
}
