// Imports of the packages go one way, as CONTRIBUTING.md says.
package docs_test

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// allowedImports lists for each package of the plugin's module which others of it
// its files without tests may import. The root package may import all; parents
// without code, and packages for tests, are not listed.
var allowedImports = map[string][]string{
	"cache":        {"cache/clock", "cache/near"},
	"cache/clock":  {},
	"cache/memory": {"cache", "cache/near"},
	"cache/near":   {},
	"cache/redis":  {"cache", "cache/clock", "cache/near"},

	"deploy/grafana": {},

	"handlers/directive": {},
	"handlers/source":    {},
	"handlers/template":  {},
	"handlers/version":   {},

	"handlers/session/stores":         {"cache", "handlers/directive", "handlers/session/stores/formats", "handlers/template"},
	"handlers/session/stores/formats": {},
	"handlers/source/filesystem":      {"cache", "cache/clock", "handlers/directive", "handlers/source", "handlers/template"},
	"handlers/source/http":            {"cache", "handlers/directive", "handlers/source", "handlers/template", "handlers/version"},
	"handlers/stores":                 {"cache/memory", "cache/redis", "handlers/directive", "handlers/template"},

	"handlers/lookup": {"cache", "handlers/directive", "handlers/source", "handlers/template", "handlers/version"},

	"handlers/invalidate": {"cache", "handlers/directive", "handlers/lookup", "handlers/template"},
	"handlers/metadata":   {"cache", "handlers/directive", "handlers/lookup", "handlers/source/filesystem", "handlers/template"},
	"handlers/session": {
		"cache", "handlers/directive", "handlers/lookup", "handlers/session/stores", "handlers/source/http", "handlers/template",
	},
	"handlers/upload": {"cache", "handlers/directive", "handlers/lookup", "handlers/template"},

	"handlers/admin/wire": {"cache", "cache/near"},
	"handlers/command":    {"cache", "deploy/grafana", "handlers/admin/wire", "handlers/lookup"},
	"handlers/health":     {"cache", "cache/memory", "cache/near", "handlers/admin/wire", "handlers/lookup"},
	"handlers/lifetime":   {"cache", "cache/near", "handlers/health", "handlers/lookup"},
	"handlers/metrics":    {"cache", "cache/memory", "handlers/version"},
	"handlers/filesystem": {"cache", "handlers/directive", "handlers/lifetime", "handlers/metrics"},
	"handlers/admin":      {"cache", "handlers/admin/wire", "handlers/health", "handlers/lifetime", "handlers/lookup", "handlers/source"},
	"handlers/dashboard": {
		"cache", "cache/near", "handlers/admin", "handlers/admin/wire", "handlers/directive", "handlers/health",
		"handlers/lifetime", "handlers/lookup", "handlers/version",
	},
}

// forTests are the directories of packages that only tests import.
var forTests = []string{"cache/cachetest", "handlers/lookup/lookuptest", "handlers/sitetest", "docs", "bench", "handlers/e2e"}

func isForTests(dir string) bool {
	return slices.ContainsFunc(forTests, func(parent string) bool { return strings.HasPrefix(dir+"/", parent+"/") })
}

const modulePath = "github.com/filewallball/caddy-filewallball/"

func TestImportsGoOneWay(t *testing.T) {
	t.Parallel()
	var listed []string
	for _, dir := range packages(t) {
		if isForTests(dir) {
			continue
		}
		listed = append(listed, dir)
		allowed, known := allowedImports[dir]
		require.True(t, known, "package %s is new: say in allowedImports what it may import", dir)
		for file, imports := range importsOf(t, dir) {
			for _, name := range imports {
				require.NotEqual(t, strings.TrimSuffix(modulePath, "/"), name, "%s imports the root package", file)
				if own, ok := strings.CutPrefix(name, modulePath); ok {
					require.Contains(t, allowed, own, "%s imports %s", file, own)
				}
			}
		}
	}
	require.Len(t, listed, len(allowedImports), "packages that there are: %v", listed)
}

// importsOf returns the imports of each file of a package, but for its tests.
func importsOf(t *testing.T, dir string) map[string][]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(dir), "*.go"))
	require.NoError(t, err)
	imports := make(map[string][]string)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range file.Imports {
			text, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			key := path.Join(dir, filepath.Base(name))
			imports[key] = append(imports[key], text)
		}
	}
	return imports
}

// The library is for any Go program: not even its dependencies bring Caddy or HTTP.
func TestCacheDependsOnNeitherCaddyNorHTTP(t *testing.T) {
	t.Parallel()
	list := exec.Command("go", "list", "-deps", "./cache", "./cache/near", "./cache/memory", "./cache/redis")
	list.Dir, list.Stderr = "..", os.Stderr
	out, err := list.Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, modulePath+"cache/redis")
	for _, dep := range deps {
		require.NotEqual(t, "net/http", dep)
		require.NotContains(t, dep, "caddyserver/")
		require.NotContains(t, dep, modulePath+"handlers")
	}
}
