// Nothing that the plugin registers, and no page, is missing in the docs.
package docs_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
)

// ours are the IDs of the Caddy modules of this repository.
func ours(t *testing.T) (ids []string) {
	t.Helper()
	for _, id := range caddy.Modules() {
		info, err := caddy.GetModule(id)
		require.NoError(t, err)
		kind := reflect.TypeOf(info.New())
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if strings.HasPrefix(kind.PkgPath(), "github.com/filewallball/") {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestEveryModuleIsInTheDocs(t *testing.T) {
	page, err := os.ReadFile("json.md")
	require.NoError(t, err)
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| \\[").FindAllSubmatch(page, -1) {
		listed = append(listed, string(m[1]))
	}
	slices.Sort(listed)
	require.Equal(t, ours(t), listed, "modules that are registered, and the list in docs/json.md")
}

func TestEveryPageIsLinkedFromTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for _, page := range pages(t) {
		if !strings.HasPrefix(page, "..") && !strings.HasPrefix(page, "adr/0") {
			require.Contains(t, string(readme), "(docs/"+page)
		}
	}
	index, err := os.ReadFile("adr/README.md")
	require.NoError(t, err)
	for _, page := range pages(t) {
		if name, ok := strings.CutPrefix(page, "adr/0"); ok {
			require.Contains(t, string(index), "(0"+name)
		}
	}
}

func TestEveryPackageIsOnTheMap(t *testing.T) {
	page, err := os.ReadFile("../CONTRIBUTING.md")
	require.NoError(t, err)
	_, text, found := strings.Cut(string(page), "## Where is what?")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n## ")
	for _, dir := range packages(t) {
		parent, name := path.Split(dir)
		onRow := slices.ContainsFunc(strings.Split(text, "\n"), func(row string) bool {
			return strings.Contains(row, "`"+dir+"/") || strings.Contains(row, "`"+parent) && strings.Contains(row, "`"+name+"/")
		})
		require.True(t, onRow, "package %s is not in the table of CONTRIBUTING.md", dir)
	}
}

// packages are the directories with Go files of this repository, but for its
// root, parents without code, and programs under test.
func packages(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		dir := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(name), ".."+string(filepath.Separator)))
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || len(d.Name()) > 2 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case filepath.Ext(name) == ".go" && dir != ".." && dir != "handlers" && path.Base(dir) != "caddy":
			dirs = append(dirs, dir)
		}
		return nil
	})
	require.NoError(t, err)
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
